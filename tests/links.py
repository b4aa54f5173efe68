#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Finds dead links: links.py FILE|FOLDER... checks each link of these HTML and Markdown files.

A link is dead if its file does not exist, or if the file has no anchor of that name. Links to other
hosts are not followed.
"""
import html.parser
import pathlib
import re
import sys
import urllib.parse


class Page(html.parser.HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.links, self.anchors = [], set()
        text = path.read_text(encoding="utf-8")
        (self.read_markdown if path.suffix == ".md" else self.feed)(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)

    def read_markdown(self, text):
        text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
        self.links += re.findall(r"\]\(([^)\s]+)\)", text)
        # As GitHub makes anchors of headings.
        for heading in re.findall(r"^#+ (.*)$", text, flags=re.M):
            self.anchors.add(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"))


def files_of(argument):
    path = pathlib.Path(argument)
    return sorted(path.rglob("*.html")) if path.is_dir() else [path]


def dead_links(pages, path):
    for link in pages[path].links:
        parts = urllib.parse.urlsplit(link)
        # Doxygen 1.9.4 links a class to this heading even if all its nested classes are private.
        if parts.scheme or parts.netloc or link == "#nested-classes":
            continue
        target = (path.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else path
        if not target.exists():
            yield f"{path}: {link}: the file does not exist"
        elif parts.fragment and target.suffix in (".html", ".md"):
            page = pages.get(target) or Page(target)
            if urllib.parse.unquote(parts.fragment) not in page.anchors:
                yield f"{path}: {link}: the file has no such anchor"


def main(arguments):
    files = [file.resolve() for argument in arguments for file in files_of(argument)]
    pages = {file: Page(file) for file in files}
    dead = [line for file in files for line in dead_links(pages, file)]
    print("\n".join(dead + [f"{sum(len(page.links) for page in pages.values())} links in "
                            f"{len(files)} files, {len(dead)} of them dead"]))
    return 1 if dead or not files else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
