#!/usr/bin/env python3
"""unicode.py - writes shared/contract/unicode_table.c: the general category of every character.

usage: tools/unicode.py > shared/contract/unicode_table.c

The table is as new as the Unicode data of the Python that runs this; it is made by hand when
that should change, not by the build.
"""

import sys
import unicodedata


def main():
    if len(sys.argv) > 1:
        print(__doc__, file=sys.stderr)
        return 0 if sys.argv[1] in ("-h", "--help") else 2
    ranges = []
    before = None
    for point in range(0x110000):
        category = unicodedata.category(chr(point))
        if category != before:
            ranges.append((point, category))
            before = category
    print("/* Written by tools/unicode.py from Unicode %s: do not change it by hand. */"
          % unicodedata.unidata_version)
    print('#include "contract/unicode.h"\n')
    print("/* clang-format off */")
    print("const struct unicode_range unicode_ranges[] = {")
    row = "\t"
    for point, category in ranges:
        piece = "{ 0x%x, UNICODE_%s }, " % (point, category.upper())
        if len(row) + len(piece) > 89:
            print(row.rstrip())
            row = "\t"
        row += piece
    print(row.rstrip())
    print("};")
    print("/* clang-format on */\n")
    print("const unsigned unicode_range_count = %d;" % len(ranges))
    return 0


if __name__ == "__main__":
    sys.exit(main())
