"""What tests of pages read out of them."""

import base64
import hashlib
import re
from html.parser import HTMLParser

from atomlens.report import packing


class Page(HTMLParser):
    """Addresses, ids, images, blocks of data and the visible text of a page."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.ids, self.images, self.blocks, self.words, self.tags = [], [], [], {}, [], []
        self._block = self._hidden = None
        self.feed(text)
        self.text = re.sub(r"\s+", " ", "".join(self.words))

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in {"src", "href", "srcset", "action"}]
        self.ids += [named["id"]] if "id" in named else []
        self.images += [named] if tag == "img" else []
        if tag in {"script", "style"}:
            self._hidden, self._block = tag, named.get("id")

    def handle_endtag(self, tag):
        if tag == self._hidden:
            self._hidden = self._block = None

    def handle_data(self, data):
        if self._block:
            self.blocks[self._block] = packing.unpacked(data) if self._block != "explained-library" else data
        elif not self._hidden:
            self.words.append(data)


def sha256(text):
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
