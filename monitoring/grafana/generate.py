"""Writes the dashboard, kraft.json in this directory: `python -m monitoring.grafana.generate`.

`panels` declares its content; positions, ids and the rest of Grafana's JSON follow from that here.
"""

import json
import re
from itertools import count
from pathlib import Path
from typing import Any

from monitoring.grafana.panels import SECTIONS, Panel, Query

FILE = Path(__file__).with_name("kraft.json")
UID = "kraft-cluster"  # never changes: links and provisioning use it
WIDTH = 24  # columns of Grafana's grid
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

_TARGETS = 'job="kraft", cluster="$cluster"'
_NODES = 'cluster="$cluster", instance=~"$instance"'
MEANINGS = {
    "TARGETS": _TARGETS,
    "PROCESS": f'job="kraft", {_NODES}',
    "GROUPS": f'{_NODES}, group=~"$group"',
    "NODES": _NODES,
    "RATE": "$__rate_interval",
}

Json = dict[str, Any]


def expression(short: str) -> str:
    """A query with its abbreviations expanded."""
    return re.sub(r"\b(" + "|".join(MEANINGS) + r")\b", lambda word: MEANINGS[word[1]], short)


def target(kind: str, place: int, query: Query) -> Json:
    """One query of a panel."""
    short, legend = query
    now = kind in ("stat", "table")
    return {
        "datasource": DATASOURCE,
        "expr": expression(short),
        "format": {"table": "table", "heatmap": "heatmap"}.get(kind, "time_series"),
        "instant": now,
        "range": not now,
        "legendFormat": legend,
        "refId": chr(ord("A") + place),
    }


def defaults(panel: Panel) -> Json:
    """Unit, colours and, for curves, their style."""
    steps: list[Json] = [{"color": "green", "value": None}]
    if panel.worse_from is not None:
        steps.append({"color": "red", "value": panel.worse_from})
    found: Json = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.mappings:
        options = {f"{value:g}": {"text": text, "color": color} for value, text, color in panel.mappings}
        found["mappings"] = [{"type": "value", "options": options}]
    if panel.kind == "timeseries":
        if not panel.signed:
            found["min"] = 0
        found["custom"] = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 8, "showPoints": "never"}
        if panel.worse_from is not None:
            found["custom"]["thresholdsStyle"] = {"mode": "dashed"}
    return found


OPTIONS: dict[str, Json] = {
    "stat": {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "graphMode": "none"},
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "table": {"showHeader": True},
    "heatmap": {"calculate": False, "yAxis": {"unit": "s"}, "color": {"mode": "scheme", "scheme": "Blues"}},
    "state-timeline": {"mergeValues": True, "showValue": "never", "rowHeight": 0.8},
}


def panel_json(panel: Panel, number: int, x: int, y: int) -> Json:
    """One panel at its position."""
    found: Json = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "datasource": DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "targets": [target(panel.kind, place, query) for place, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": defaults(panel), "overrides": []},
        "options": OPTIONS[panel.kind],
    }
    if panel.description:
        found["description"] = panel.description
    if panel.kind == "table":
        hidden = {"Time": True, "Value": True}
        found["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    return found


def laid_out() -> list[Json]:
    """All panels by section; each row of the grid is filled from the left."""
    found: list[Json] = []
    numbers, y = count(1), 0
    for title, panels in SECTIONS:
        place = {"x": 0, "y": y, "w": WIDTH, "h": 1}
        row = {"id": next(numbers), "type": "row", "title": title, "gridPos": place}
        found.append(row | {"collapsed": False, "panels": []})
        x, y, height = 0, y + 1, 0
        for panel in panels:
            if x + panel.width > WIDTH:
                x, y, height = 0, y + height, 0
            found.append(panel_json(panel, next(numbers), x, y))
            x, height = x + panel.width, max(height, panel.height)
        y += height
    return found


def variable(name: str, query: str, *, several: bool) -> Json:
    """A variable at the top of the dashboard: the values of a label."""
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,  # when the time range changes, as nodes come and go
        "sort": 1,
        "multi": several,
        "includeAll": several,
        "allValue": ".+" if several else None,
        "current": {"text": "All", "value": "$__all"} if several else {},
    }


def dashboard() -> Json:
    """The whole dashboard."""
    return {
        "uid": UID,
        "title": "kraft",
        "description": "A kraft cluster: is it well, what is it doing, and where is it slow.",
        "tags": ["kraft"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "graphTooltip": 1,  # one cross-hair for all panels
        "annotations": {"list": []},
        "links": [],
        "templating": {
            "list": [
                {"name": "datasource", "label": "Datasource", "type": "datasource", "query": "prometheus"},
                variable("cluster", "label_values(kraft_node_info, cluster)", several=False),
                variable("instance", f"label_values(up{{{_TARGETS}}}, instance)", several=True),
                variable("group", f"label_values(kraft_raft_has_leader{{{_TARGETS}}}, group)", several=True),
            ]
        },
        "panels": laid_out(),
    }


def text() -> str:
    """The content of the file."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
