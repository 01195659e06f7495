"""``smartbox list``."""

import click

from smartbox.cli._terminal import console


@click.command("list", short_help="Names and parameters for the other commands.")
@click.argument("name", required=False)
def list_(name):
    """Name the attacks, defences, detectors and metrics, with their parameters, defaults and papers; with NAME, describe all
    parameters of one of them.
    """
    from smartbox.cli._listing import description, listing

    width = console().width
    for line in description(name, width) if name else listing(width):
        click.echo(line)
