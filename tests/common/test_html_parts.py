from html.parser import HTMLParser

from latprof.common.html_parts import html_table


class Cells(HTMLParser):
    """The texts of a document and the names of its elements; nothing may be left open."""

    def __init__(self):
        super().__init__()
        self.texts, self.names, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data)


def test_every_text_is_escaped_and_every_element_closed():
    hostile = "<script>alert('x')</script> & \"more\""
    cells = Cells()
    cells.feed(html_table(hostile, [(hostile, 1, hostile)], ("a", hostile, "c")))
    assert cells.open == []
    assert "script" not in cells.names
    assert cells.texts == [hostile, "a", hostile, "c", hostile, "1", hostile]


def test_the_first_cell_of_a_row_names_it():
    assert html_table("t", [("a", 1)]) == (
        "<table><caption>t</caption>\n<tbody>\n"
        '<tr><th scope="row">a</th><td>1</td></tr>\n</tbody></table>'
    )
