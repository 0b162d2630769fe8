"""What the tokenizers of these tests are trained on and tried with."""

END = "<|endoftext|>"
TEXTS = (
    "",
    " ",
    "Hello, world! It's 2026; they'll say \"we've done it\".",
    "Привіт! Як справи? Це ґанок, їжак і м'яч — усе гаразд.",
    "Привіт🙂 👩‍👩‍👧‍👦 🇺🇦 emoji",
    "a  b   c\t\td\n\n\n  e \r\n f   ",
    "   leading and trailing   ",
    "\u00a0non-breaking\u2028line\u0085separators\u200b",
    "e\u0301 é ﬁ Ⅷ ١٢٣ 中文字 日本語",
    "\x00NUL\x00 and \x1b[31m controls\x7f",
    "def f(x):\n    return x**2  # comment\n",
    "x" * 300,
    "\ufffd\ufeff\U0010ffff",
)
