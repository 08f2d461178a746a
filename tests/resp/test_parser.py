from kraft.resp.parser import Limits, Parser


def test_first_steps():
    parser = Parser(Limits())
    data = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\nget 'b c'\r\n*1\r\n$4\r\nPI"
    assert parser.feed(data) == [[b"GET", b"a"], [b"get", b"b c"]]
    assert parser.feed(b"NG\r\n") == [[b"PING"]]
    assert parser.error is None
