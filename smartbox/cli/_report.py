"""``smartbox report``."""

from pathlib import Path

import click


@click.command(short_help="One HTML page about a run of bench, or about the differences between two.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("other", metavar="[OTHER]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The page, or the folder for the tables.  [default: in DIR, report.html, comparison.html of two runs, or tables]",
)
@click.option(
    "--format",
    type=click.Choice(["html", "markdown", "latex"]),
    default="html",
    show_default=True,
    help="'markdown' and 'latex' write the tables alone, one file each, for papers.",
)
def report(folder, other, out, format):
    """Make one page of a run that 'smartbox bench' left in DIR: summary, tables, curves, and where the numbers come from.

    The page needs no other file and no network. With a second folder, of a run on the same faces and seeds, it tells where the
    two differ, and whether that is more than chance.
    """
    from smartbox.report import write_report, write_tables

    if format == "html":
        click.echo(f"Written: {write_report(folder, out, other=other)}")
        return
    paths = write_tables(folder, out, format=format, other=other)
    click.echo(f"Written to {paths[0].parent}: {', '.join(path.name for path in paths)}")
