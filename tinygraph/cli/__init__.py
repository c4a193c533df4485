"""The `tinygraph` command: reads its arguments and hands them to the module that does the work.

A subcommand is a function that adds a parser and names, with `set_defaults(run=...)`, what to call with the parsed
arguments; it returns the exit code. What a subcommand needs is imported when it runs, so that `--help` is quick.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import tinygraph

from . import parsers
from .errors import UserError

__all__ = ["main"]

EXIT_CODES = """exit codes:
  0  done
  1  done, but a check failed, a bar was missed or training diverged
  2  arguments or files that make no sense; nothing was done
  130  stopped with Ctrl-C
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (by default those of the process); returns its exit code.

    As is usual with argparse, `--help`, `--version` and arguments that make no sense end in SystemExit.
    """
    parser = argparse.ArgumentParser(
        prog="tinygraph", description="Train networks, and prove gradients, with an autodiff engine on NumPy.",
        epilog=EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {tinygraph.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    parsers.add_train(commands)
    parsers.add_evaluate(commands)
    parsers.add_predict(commands)
    parsers.add_info(commands)
    add_demo(commands)
    add_check(commands)
    arguments = parser.parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: print(f"tinygraph: {message}", file=sys.stderr)
            exit_code: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads the output has seen enough; nothing is left to be flushed at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        text = f"{error.strerror}: {error.filename}" if error.filename else error
        print(f"tinygraph: {text}", file=sys.stderr)
        return 2
    except (UserError, MemoryError) as error:
        print(f"tinygraph: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tinygraph: stopped", file=sys.stderr)
        return 130
    return exit_code


def add_demo(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """`tinygraph demo`: exit code 0 if every check holds, else 1."""
    parser = commands.add_parser(
        "demo",
        help="build the documents' network from graph nodes, prove its gradients correct and train it",
        description="Run the documents' experiments, and one on handwritten digits. Draws pictures, prints a table of "
        "checks, and ends with exit code 0 only if all of them hold. Takes less than a minute.",
    )
    parser.add_argument("--out", type=Path, default=Path("tinygraph-demo"), metavar="FOLDER",
                        help="where the pictures go (default: %(default)s)")
    parser.add_argument("--seed", type=parsers.seed, default=0,
                        help="of the random numbers in (c), (d) and (f), 0 or more (default: %(default)s)")
    parser.set_defaults(run=run_demo)


def run_demo(arguments: argparse.Namespace) -> int:
    from tinygraph import demo

    return demo.run(arguments.out, arguments.seed)


def add_check(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """`tinygraph check`: exit code 0 if every gradient is right, 1 if one is not, 2 if nothing could be checked."""
    parser = commands.add_parser(
        "check",
        help="check the gradient of a function, or the rules of ops, in a file of yours",
        description="Check gradients beside numerical derivatives with error bars, and print a report. Ends with exit "
        "code 0 only if all is well.",
        epilog="examples: tinygraph check my_ops.py; tinygraph check my_ops.py:Softplus; tinygraph check "
        "package.module:loss --inputs example --gradient loss_by_hand",
    )
    parser.add_argument("target", metavar="MODULE[:NAME]",
                        help="a dotted module or a .py file, and in it a function or an op; without a name all its ops")
    parser.add_argument("--inputs", metavar="NAME", help="in the module: a list of arrays to check at, or a function "
                        "that returns one (default: some that are accepted)")
    parser.add_argument("--gradient", metavar="NAME", help="in the module: the backward that you derived, "
                        "gradient(grad_output, *inputs) (default: the engine's gradient is checked)")
    parser.add_argument("--order", type=int, choices=(1, 2), default=1, help="2: second derivatives, too (default: 1)")
    parser.set_defaults(run=run_check)


def run_check(arguments: argparse.Namespace) -> int:
    from tinygraph.testing.modules import reports

    try:
        found = reports(arguments.target, arguments.inputs, arguments.gradient, arguments.order)
    except (ImportError, AttributeError, TypeError) as error:
        raise UserError(str(error)) from error
    for report in found:
        print(report)
    return 0 if all(found) else 1
