"""Tables: numbers to the right, headings in two rows."""

import re

from kraft.web.columns import Column, Rest, table

COLUMNS = (
    Column("node"), Column("entries", "file", number=True), Column("bytes", "file", number=True),
    Column("free"),
)  # fmt: skip


def test_columns_that_share_a_heading_stand_below_it():
    made = table(COLUMNS, [])
    upper, lower = re.findall(r"<tr>(.*?)</tr>", made.partition("</thead>")[0])
    assert upper == (
        '<th scope="col" rowspan="2">node</th><th scope="colgroup" colspan="2" class="columns">file</th>'
        '<th scope="col" class="apart" rowspan="2">free</th>'
    )
    assert re.findall(r'class="([^"]+)"[^>]*>(\w+)<', lower) == [
        ("number first", "entries"),
        ("number", "bytes"),
    ]


def test_headings_that_nobody_shares_are_one_row():
    assert table([Column("node"), Column("free")], []).count("<tr>") == 1


def test_numbers_are_marked_and_the_first_cell_is_a_heading():
    made = table(COLUMNS, [["K1", "5", "6", "a < b"]])
    assert made.endswith(
        '<tbody><tr><th scope="row">K1</th><td class="number">5</td><td class="number">6</td>'
        '<td class="apart">a &lt; b</td></tr></tbody></table>'
    )


def test_a_cell_may_take_the_rest_of_its_row():
    assert '<td colspan="3" class="rest">gone</td></tr>' in table(COLUMNS, [["K1", Rest("gone")]])
