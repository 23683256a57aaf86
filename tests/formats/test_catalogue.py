from pathlib import Path

from unet_batch.formats.catalogue import FORMATS, MODULES, table

DOCS = Path(__file__).parents[2] / "docs" / "formats.md"


def test_the_docs_have_the_table_of_the_program():
    text = DOCS.read_text("utf-8")
    assert text.partition("<!-- table -->\n")[2].partition("\n<!-- end -->")[0] == table()


def test_every_extra_of_the_table_is_one_of_the_package():
    named = {extra for one in FORMATS for extra in one.extra.split(", ") if extra}
    assert named == set(MODULES)
    project = (DOCS.parents[1] / "pyproject.toml").read_text("utf-8")
    assert all(f"\n{extra} = [" in project for extra in named)
