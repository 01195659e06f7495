"""The command ``smartbox``: thin, over the same public classes."""

import os
import sys
import warnings

import click

import smartbox
from smartbox.cli._attack import attack
from smartbox.cli._bench import bench
from smartbox.cli._detect import detect
from smartbox.cli._evaluate import evaluate
from smartbox.cli._list import list_
from smartbox.cli._mitigate import mitigate
from smartbox.cli._report import report
from smartbox.cli._terminal import Interrupted, Terminated, terminable
from smartbox.cli._train import train

_MISTAKES = (ValueError, OSError, FloatingPointError, MemoryError)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    epilog="An error is one line that says what to do about it. SMARTBOX_DEBUG=1 shows where it arose.",
)
@click.version_option(smartbox.__version__, prog_name="smartbox")
@click.pass_context
def commands(ctx):
    """Attack face recognition, detect the attacks, mitigate them, and measure all three."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


for command in (bench, train, attack, detect, mitigate, evaluate, report, list_):
    commands.add_command(command)


def main(arguments=None):
    """Run the command; a user's mistake is one line, not a traceback.

    Parameters
    ----------
    arguments : list of str, optional
        Instead of those on the command line.
    """
    with warnings.catch_warnings(), terminable():
        warnings.showwarning = lambda message, *_: _complain(f"warning: {message}")
        try:
            commands.main(arguments, prog_name="smartbox", standalone_mode=False)
        except (click.exceptions.Abort, KeyboardInterrupt) as error:
            _complain(f"interrupted; {error if isinstance(error, Interrupted) else 'nothing was written.'}")
            sys.exit(143 if isinstance(error.__cause__ or error, Terminated) else 130)
        except click.ClickException as error:
            where = getattr(error, "ctx", None)
            _complain(f"{error.format_message()} See '{where.command_path if where else 'smartbox'} --help'.")
            sys.exit(error.exit_code)
        except _MISTAKES as error:
            if os.environ.get("SMARTBOX_DEBUG"):
                raise
            _complain(error if str(error) else type(error).__name__)
            sys.exit(2)


def _complain(message):
    click.echo(f"smartbox: {' '.join(str(message).split())}", err=True)
