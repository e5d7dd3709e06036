"""Hostile JSON texts by category, each with what a strict reader must make of it.

The categories are those of the public JSON parsing test suites; the texts are made here, in one fixed order. A text is
`invalid` where it is not exactly one JSON value with unique keys in valid UTF-8, `valid` where it is one that any
reader must take, and `either` where it is one that a reader may refuse: beyond the limits of readers, NUL, half of a
surrogate pair.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

Label = Literal["valid", "invalid", "either"]
Texts = Mapping[Label, list[bytes]]

ID = b"<id>"
"""Stands in a text for the order id of the record that it is placed in."""
ORDER = b'{"order_id":"<id>","created_at":"2024-05-01T10:00:00Z"}'
DEEP = 100_000


def large_texts(size: int) -> Texts:
    """Texts, names, numbers and white space of about `size` bytes."""
    x, digits, backslashes = b"x" * size, b"9" * size, b"\\\\" * (size // 2)
    return {
        "invalid": [
            *(b'"' + x, b'{"a":"' + x + b'","a":1}', b'"' + backslashes + b'\\"', b"[" + b"1," * (size // 2) + b"]"),
            *(b"[" * size, b'{"a":' * (size // 5)),
        ],
        "either": [
            *(b'"' + x + b'"', b'{"' + x + b'":1}', b'["' + x[: size // 2] + b'","' + x[: size // 2] + b'"]'),
            *(
                b'"' + part * (size // len(part)) + b'"'
                for part in (b"\\u0041", b"\\\\", b"\\ud83d\\ude00", b"9", b"T00:")
            ),
            *(digits, b"0." + digits, b"[" + b" " * size + b"1]"),
            *(b"[" * (size // 2) + b"]" * (size // 2), b"[" + b"1," * (size // 2) + b"1]"),
        ],
    }


def hostile_texts() -> dict[str, Texts]:
    """The texts of each category by their labels."""
    return {
        "truncated": _truncated(),
        "garbage": _garbage(),
        "two values": _two_values(),
        "duplicate key": _duplicate_keys(),
        "escape": _escapes(),
        "surrogate": _surrogates(),
        "control character": _control_characters(),
        "white space": _white_space(),
        "byte order mark": _byte_order_marks(),
        "number": _numbers(),
        "literal": _literals(),
        "structure": _structures(),
        "utf-8": _encodings(),
        "depth": _depths(),
    }


def _texts(texts: str) -> list[bytes]:
    """Texts with two blanks or a new line between them."""
    return [text.encode() for text in re.split(r" {2,}|\n *", texts.strip(" \n"))]


def _in_text(parts: list[bytes]) -> list[bytes]:
    return [b'"x' + part + b'y"' for part in parts]


def _truncated() -> Texts:
    whole = (
        ORDER[:-1]
        + b',"amount":-1.5e+2,"items":[{"sku":"\xc3\xa9\xf0\x9f\x98\x80","qty":1}, {"sku":"t","qty":2}],"metadata":null'
        + rb',"deleted":false,"e":"\u00e9\\\ud83d\ude00","t": true}'
    )
    return {"invalid": [whole[:end] for end in range(1, len(whole))], "valid": [whole]}


def _garbage() -> Texts:
    garbage = [
        *_texts("""
            x  }  ]  ,  ,,  :  "  ""  '  ;  \\  //x  /*x*/  #x  <!--  -  0  null  {}  []  {  [  ],[
            """),
        *(b"\x00", b"\x0b", b"\x0c", b"\x1a", b"\x1b[0m", b"\x7f", b"\xff"),
    ]
    ends = [ORDER + gap + part for part in garbage for gap in (b"", b" ")]
    return {"invalid": [*ends, *(part + ORDER for part in garbage)], "valid": [ORDER, b" \t" + ORDER + b"\t "]}


def _two_values() -> Texts:
    gaps = (b"", b" ", b"\t", b",", b";", b":", b"\x1e", b"\x00", b"|", b"\\n", b" and ")
    return {"invalid": [ORDER + gap + ORDER for gap in gaps] + [b"1 2", b'"a" "b"', b"true false", b"[] []", b"null{}"]}


def _duplicate_keys() -> Texts:
    member = b'"created_at":"2024-05-01T10:00:00Z"'
    spellings = (b'"order_id"', b'"order\\u005fid"', b'"\\u006frder_id"', b'"order\\u005Fid"')
    return {
        "invalid": [
            *(b'{"order_id":"<id>",' + member + b"," + spelling + b':"x"}' for spelling in spellings),
            ORDER[:-1] + b"," + member + b"}",
            *_texts(r"""
                {"a":1,"a":1}  {"a":1,"b":2,"a":null}  {"a":{"b":1,"b":2}}  {"a":[{"b":1},{"c":1,"c":1}]}
                {"a":{"b":{"c":{"d":1,"d":1}}}}  {"":1,"":2}  {"\/":1,"/":2}  {"\u00e9":1,"é":2}
                {"\ud83d\ude00":1,"😀":2}  {"\n":1,"\u000a":2}  {"\"":1,"\u0022":2}  {"\\":1,"\u005c":2}
                {"a":{},"a":[]}  {"a":1,"\u0061":{"a":1}}  [{"a":1,"a":1}]  {"sku":"a","sku":"b"}
                """),
        ],
        "valid": [
            '{"\u00e9":1,"e\u0301":2}'.encode(),
            *_texts(r"""
            {"a":1,"A":2}  {"a":{"a":{"a":1}}}  [{"a":1},{"a":1}]  {"a":1,"a ":2," a":3}  {"\\u0061":1,"a":2}
            {"a.b":1,"a":{"b":2}}  {"`":1,"``":2,"'":3,"$":4,"$[0]":5,"__proto__":6,"":7}
            """),
        ],
    }


def _escapes() -> Texts:
    bad = _texts(r"""
        \x41  \a  \'  \0  \1  \v  \e  \U0041  \u  \u1  \u12  \u123  \u12g4  \u-123  \u+123  \u 123  \u0x41  \u{41}
        \N{DASH}  \é  \😀  \%41
        """)
    return {
        "invalid": [
            *_in_text(bad),
            *_in_text(["\\u\uff10\uff10\uff14\uff11".encode(), b"\\ ", b"\\\t", b"\\\x00", b"\\\xff"]),
            *_texts(r"""
                "\"  "\\\"  "\u004"  "\  \"a"  {\"a\":1}  {"a\":1}
                """),
            b'"' + b"\\\\" * 60 + b'\\"',
        ],
        "valid": [
            *_in_text(
                _texts(r"""
                \"  \\  \/  \b  \f  \n  \r  \t  \u0041  \u007f  \u00E9  \uFFFF  \u2028  \\u0041  \\u0000  \\\u0041
                \\ud800  \u005c\u005cu0041
                """)
            ),
            b'"' + b"\\\\" * 1000 + b'"',
        ],
    }


def _surrogates() -> Texts:
    half = _texts(r"""
        \ud800  \udfff  \uD83D  \uDE00  \ude00\ud83d  \ud83d\ud83d  \ud83d\ud83d\ude00  \ud83d\ude00\ude00
        \ud83d\u0041  \ud83d\\ude00  \\ud83d\ude00  \ud83d \ude00  \ud83d\n\ude00
        """)
    whole = _texts(r"""
        \ud83d\ude00  \uD800\uDC00  \udbff\udfff  \\\ud83d\ude00  \ud83d\ude00\ud83d\ude00
        """)
    backslashes = [b"\\\\" * times + b"\\ud83d\\ude00" for times in (49, 50, 51, 52, 1000)]
    nul = [b"\\u0000", b"\\\\\\u0000", b"\\u0000\\u0000"]
    return {
        "invalid": _in_text([b"\\ud83d\\u", b"\\ud83d\\ude0", b"\\ud83d\\", b"\\uD83D\\uDE0g"]),
        "valid": _in_text([*whole, *backslashes, *(b"\\\\" * times + b"\\\\ud800" for times in (0, 50, 51))]),
        "either": [
            *_in_text([*half, *nul, *(b"\\\\" * times + b"\\ude00" for times in (50, 51))]),
            *(b'{"\\ud800":1}', b'{"\\u0000":1}', b'[{"a":"\\ud800"}]'),
        ],
    }


def _control_characters() -> Texts:
    # A line feed or a carriage return ends a record of JSON Lines.
    controls = [bytes([code]) for code in range(0x20) if code not in b"\n\r"]
    between = [bytes([code]) for code in (0x00, 0x01, 0x08, 0x0B, 0x0C, 0x0E, 0x1B, 0x1C, 0x1F, 0x7F)]
    return {
        "invalid": [
            *_in_text(controls),
            *(b'{"a' + control + b'":1}' for control in controls),
            *(b'{"a":' + control + b"1}" for control in between),
        ],
        "valid": [*_in_text([b"\x7f", "\x80".encode(), "\x9f".encode()]), b'{\t"a"\t:\t1\t}'],
    }


def _white_space() -> Texts:
    blanks = "\x85 \xa0 \u1680 \u180e \u2000 \u2007 \u2009 \u200b \u200e \u2028 \u2029 \u202f \u205f \u2060 \u3000"
    others = [blank.encode() for blank in blanks.split(" ")]
    return {
        "invalid": [
            *(blank + ORDER for blank in others),
            *(ORDER + blank for blank in others),
            *(b'{"a":' + blank + b"1}" for blank in others),
        ],
        "valid": [*_in_text(others), b' { "a" : [ 1 , 2 ] } ', b'\t{\t"a" \t:[]}'],
    }


def _byte_order_marks() -> Texts:
    mark = "\ufeff".encode()
    return {
        "invalid": [
            *(mark * 2 + ORDER, ORDER + mark, mark, b"{" + mark + b"}"),
            *(b'{"a":' + mark + b"1}", b'{"a"' + mark + b":1}", b"[1," + mark + b"2]"),
            *(b"\xfe\xff" + ORDER, b"\xff\xfe" + ORDER, ORDER + b"\xef\xbb", b"\xef\xbb" + ORDER),
        ],
        "valid": [*_in_text([mark]), b'{"' + mark + b'":1}'],
        # before a record it is passed over, inside of one it is none of JSON's
        "either": [mark + ORDER, mark + b"1"],
    }


def _numbers() -> Texts:
    return {
        "invalid": [
            *(b"1\x00", b"-\x001", b"1,5"),
            *("\uff11 \u0663 \u00bd \u00b2 \u22121 1e\uff12".encode().split()),
            *_texts("""
            01  -01  00  -00  +1  +0  .5  -.5  +.5  .  .e1  1.  -1.  0.e1  1.e5  1e  1e+  1E-  0e  0E+  -  --1  +-1
            -+1  1-  1+  1e1.5  1e1e1  1ee2  1eE2  1e++2  1.2.3  1..2  0x1  0X1F  -0x1  0b1  0o7  1_000  1 000
            1'000  1L  1d  1f  1.0D  1n  1%  $1  #1  NaN  -NaN  nan  NAN  Infinity  -Infinity  +Infinity  infinity
            Inf  -INF  INF  1.#INF  1/2  1+1  (1)  1a  a1
            """),
        ],
        "valid": _texts("""
            0  -0  -0.0  1  -1  1.10  1.0000  0.5  1e5  1E5  1e+5  1e-5  1E05  0e1  0E+1  -1.5e2  999999999999999
            9999999999999999  123456789012345678901234567890  0.1000000000000000055511151231257827
            12345678901234.5678
            """),
        "either": [
            *_texts("1e400  -1e400  1e-400  1e308  1e309  -0e-999  1e999999999  1e99999999999999999999"),
            *(b"9" * 400, b"9" * 1001, b"0." + b"1" * 1500, b"-" + b"9" * 5000, b"1e" + b"9" * 5000),
        ],
    }


def _literals() -> Texts:
    return {
        "invalid": _texts("""
            tru  truee  True  TRUE  fals  falsee  False  nul  nulll  Null  NULL  None  nil  undefined  yes  t
            truefalse  null1
            """),
        "valid": _texts("true  false  null"),
    }


def _structures() -> Texts:
    return {
        "invalid": [
            *(b"", b" ", b"\\"),
            *_texts(r"""
            {  }  [  ]  [}  {]  [1}  {"a":1]  [[]  []]  {{}}  {"a":{}  {"a"}  {"a":}  {"a",1}  {"a" 1}  {"a"::1}
            {"a"=1}  {"a"=>1}  {:1}  {,}  {"a":1,}  {"a":1,,"b":2}  {,"a":1}  {"a":1 "b":2}  {"a":1;"b":2}
            {"a":1,"b"}  {"a":1,2}  {1:1}  {null:1}  {true:1}  {[]:1}  {{}:1}  {a:1}  {$a:1}  {'a':1}  {"a":'b'}
            {'a":"b'}  {`a`:1}  {"a":`b`}  {“a”:1}  {"a":“b”}  {"a":b}  {"a":@}  {"a":1 /*c*/}  /*c*/{"a":1}  {/**/}
            {"a":/*c*/1}  {"a":1}//c  {"a":1}#c  {#c  //c  --c  [1,]  [,1]  [,]  [1,,2]  [1 2]  [1;2]  [1:2]
            ["a" "b"]  ["a"  [1,  [...]  {...}  {"a":...}  (1)  <null>  <order/>  *  "  '  '1'  "a  a"  "a""b"
            "a"+"b"  'a'  abc  a,b,c  order_id=1  ---  - a: 1  %7B%7D  &quot;a&quot;  callback({})  while(1);{}
            )]}',{}
            """),
        ],
        "valid": [
            *_texts(r"""
                {}  []  ""  " "  [[],{},[{}]]  {"a":[1,{"b":[2,{"c":null}]}]}  [1,"1",true,null,{"1":1}]  "{}"  "]}"
                "/*c*/"  "//"  "#"  "'"  "NaN"  {"a":"{\"b\":1,\"b\":2}"}  {"record":1,"corrupt":2}  {"corrupt":"x"}
                """),
            b'"' + b"x" * 100_000 + b'"',
            b'{"' + b"k" * 1000 + b'":1}',
            b"[" + b"0," * 5000 + b"0]",
        ],
    }


def _encodings() -> Texts:
    bad = [
        *(b"\xff", b"\xfe", b"\x80", b"\xbf", b"\xe9", b"\xc3", b"\xc3\x28", b"\xe2\x82", b"\xe2\x28\xa1"),
        *(b"\xf0\x9f\x98", b"\xf0\x28\x8c\xbc", b"\xfe\xff", b"\xff\xfe"),
        # overlong forms of NUL, a slash, a quote and a line feed
        *(b"\xc0\x80", b"\xc0\xaf", b"\xc0\xa2", b"\xc0\x8a", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xe0\x9f\xbf"),
        *(b"\xf0\x80\x80\xaf", b"\xf0\x8f\xbf\xbf"),
        # surrogates, alone and as a pair, and what lies beyond Unicode
        *(b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xa0\xbd\xed\xb8\x80", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80"),
        *(b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"),
    ]
    good_texts = "é ÿ ߿ ࠀ 漢 \ufffd \ufffe \uffff \ue000 😀 \U0010ffff e\u0301 \u202eabc \u0645 👩\u200d👩 \u0000"
    return {
        "invalid": [
            *_in_text(bad),
            *(b'{"' + part + b'":1}' for part in bad),
            *(ORDER.decode().encode(encoding) for encoding in ("utf-16-le", "utf-16-be", "utf-16", "utf-32")),
            *("1".encode(encoding) for encoding in ("utf-16-le", "utf-32-be")),
            *(b'{"a":1}\xe9', b"\xc3", b"[\xff]"),
        ],
        "valid": _in_text([text.encode() for text in good_texts.split(" ")[:-1]]),
    }


def _depths() -> Texts:
    return {
        "invalid": [
            *(b"[" * DEEP, b"]" * DEEP, b"{" * DEEP, b'{"a":' * DEEP, b'[{"a":' * DEEP, b'{"a":[' * DEEP),
            *(b"[" * DEEP + b"}" * DEEP, b"[" * DEEP + b"]" * (DEEP - 1), b'"' * DEEP + b'"', b"-" * DEEP),
            *(b"[" * 400 + b"]" * 399, b'{"a":' * 400 + b"1" + b"}" * 401),
        ],
        "valid": [b"[" * 400 + b"]" * 400, b'{"a":' * 400 + b"1" + b"}" * 400],
        "either": [
            *(b"[" * depth + b"]" * depth for depth in (1000, 5000, DEEP)),
            *(b'{"a":' * depth + b"1" + b"}" * depth for depth in (1000, 5000, DEEP)),
        ],
    }
