"""Scripts and style sheets as they are served: what only people read stays at home, and nothing else."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gpt2svc.api.lean_source import lean_script, lean_style

WEB = Path(__file__).resolve().parents[2] / "src" / "gpt2svc" / "web"


@pytest.mark.parametrize(
    ("source", "lean"),
    [
        ("/** a\n * b */\nlet x = 1; // why\n  // gone\n  f(/** @type {any} */ x);\n", "let x=1;f(x);"),
        ("a = b\nc()", "a=b\nc()"),
        ("if (a) {\n  b();\n} else return [\n  1,\n];", "if(a){b()}else return[1];"),
        ("{\n  while (a());\n}\n{ b; }", "{while(a());}\n{b}"),
        ("const of = a / b / c, d = e /* f */ / g", "const of=a/b/c,d=e/g"),
        ('x.replace(/ ["/] \\/ /g, \' // \') + " /* \\" */ "', 'x.replace(/ ["/] \\/ /g,\' // \')+" /* \\" */ "'),
        ("return /a b/.test(`${ a } // b`)", "return/a b/.test(`${ a } // b`)"),
        ("a - -b + +c ++", "a- -b+ +c++"),
        ("async *a() {}\nget #b() {}\nstatic $ = new b", "async*a(){}\nget #b(){}\nstatic $=new b"),
        ("f((a) => b, async (c) => d, (e, f) => g, h = (i) => (j) >= k)", "f(a=>b,async(c)=>d,(e,f)=>g,h=i=>(j)>=k)"),
        ("[, a, ] = f(b, c,\n);\nd = [1,,]", "[,a]=f(b,c);d=[1,,]"),
        ("текст = а ? б : в", "текст=а?б:в"),
    ],
)
def test_a_script_keeps_its_meaning(source: str, lean: str) -> None:
    assert lean_script(source) == f"{lean}\n"


def test_a_style_sheet_keeps_its_meaning() -> None:
    source = "/* a\n b */\n.a > .b,\n.c :hover {\n  margin: 0 calc(1px + 2px);\n  width: 0.5em 10.05em;\n}\n"
    assert lean_style(source) == ".a>.b,.c :hover{margin:0 calc(1px + 2px);width:.5em 10.05em}\n"
    query = "@media (max-width: 9px) and (hover: none) {\n  .a {\n    b: c;\n  }\n}\n"
    assert lean_style(query) == "@media (max-width:9px) and (hover:none){.a{b:c}}\n"


def test_no_text_of_the_page_spans_lines_or_stands_in_another() -> None:
    for path in WEB.rglob("*.js"):
        for line in path.read_text("utf-8").splitlines():
            bare = re.sub(r"^\s*(?:/?\*|//).*|/\*.*?\*/|\"(?:[^\"\\]|\\.)*\"", "", line)
            assert bare.count("`") % 2 == 0, (path.name, line)
            for template in re.findall(r"`([^`]*)`", bare):
                assert template.count("{") == template.count("}"), (path.name, line)


@pytest.mark.skipif(shutil.which("node") is None, reason="Node reads the scripts here; Chromium does in tests/web")
def test_every_script_parses_and_says_the_same_names(tmp_path: Path) -> None:
    words = re.compile(r"[\w$#]+")
    for path in sorted(WEB.rglob("*.js")):
        lean = lean_script(path.read_text("utf-8"))
        (tmp_path / f"{path.stem}.mjs").write_text(lean, "utf-8")
        assert set(words.findall(lean)) <= set(words.findall(path.read_text("utf-8"))), path.name
    for path in tmp_path.iterdir():
        subprocess.run(["node", "--check", str(path)], check=True)
