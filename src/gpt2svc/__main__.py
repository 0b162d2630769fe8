"""`python -m gpt2svc` is the `gpt2svc` command."""

from gpt2svc.cli.main import main

main()
