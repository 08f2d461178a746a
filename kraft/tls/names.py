"""The names in certificates.

A node's certificate has one name of the form `kraft://CLUSTER/NODE` among its alternative names (a URI, RFC
5280 section 4.2.1.6). A node proves by it which member of which cluster it is; host names and addresses
beside it are for clients. A client's certificate has no such name, so it never opens a link between nodes:
its name is the common name of its subject.
"""

import re
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import NameOID

NAME_FORM = "1 to 64 letters, digits, `_`, `.`, `-`"
_NAME = r"[A-Za-z0-9_.-]{1,64}"
_NODE_URI = re.compile(rf"kraft://({_NAME})/({_NAME})")


@dataclass(frozen=True, slots=True)
class NodeName:
    """The cluster and the id of a node. `cluster` is a name that its owners chose, for all nodes."""

    cluster: str
    node: str

    def __str__(self) -> str:
        return f"kraft://{self.cluster}/{self.node}"


def is_name(text: str) -> bool:
    """Whether `text` can be the name of a cluster, a node or a client in a certificate."""
    return re.fullmatch(_NAME, text) is not None and text not in (".", "..")


def node_name(certificate: x509.Certificate) -> NodeName | None:
    """The node that a certificate speaks for; None if it is for no node, or not for exactly one."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return None
    uris = [
        uri for uri in names.get_values_for_type(x509.UniformResourceIdentifier) if uri.startswith("kraft:")
    ]
    match = _NODE_URI.fullmatch(uris[0]) if len(uris) == 1 else None
    return NodeName(match[1], match[2]) if match else None


def common_name(certificate: x509.Certificate) -> str:
    """The common name of the subject; '' if there is none, or more than one."""
    try:
        found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        return ""
    return str(found[0].value) if len(found) == 1 else ""


def user_names(certificate: x509.Certificate, field: str) -> list[str]:
    """The names of users in a client's certificate: its common name (`field` CN), or its URIs (URI)."""
    if field == "CN":
        return list(filter(None, [common_name(certificate)]))
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def shown_name(certificate: x509.Certificate) -> str:
    """What a certificate is called in messages: on one line, and possible to print."""
    node = node_name(certificate)
    text = str(node) if node else common_name(certificate) or certificate.subject.rfc4514_string()
    return (
        "".join(letter if letter.isprintable() else "?" for letter in text[:100])
        or "a certificate without a name"
    )
