"""Reads a page as a strict parser would: elements with attributes, visible text, tables."""

from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "input"}


class Outline(HTMLParser):
    """``elements`` are (tag, attributes); ``tables`` map captions to rows of texts."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.elements, self.text, self.scripts, self.tables = [], "", [], {}
        self._open, self._caption = [], ""
        self.feed(page)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "script":
            self.scripts.append("")
        if tag == "caption":
            self._caption = ""
        if tag == "tr":
            self.tables.setdefault(self._caption, []).append([])
        if tag in {"th", "td"}:
            self.tables[self._caption][-1].append("")

    def handle_endtag(self, tag):
        assert self._open[-1:] == [tag], f"</{tag}> closes {self._open[-3:]}"
        self._open.pop()

    def handle_data(self, data):
        if "script" in self._open:
            self.scripts[-1] += data
        elif "style" not in self._open:
            self.text += data
            if self._open[-1:] == ["caption"]:
                self._caption += data
            elif {"th", "td"} & set(self._open):
                self.tables[self._caption][-1][-1] += data

    @property
    def words(self):
        return " ".join(self.text.split())
