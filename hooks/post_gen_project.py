"""Say what to do next, and nothing else: the hook runs again when a project is updated."""

import shlex
from pathlib import Path

pages = {"http_api": "\n  make run UI=1 the same on a page in your browser"}
page = pages.get("{{ cookiecutter.front_door }}", "")
print(f"""
{{ cookiecutter.project_slug }} is ready. Next:

  cd {shlex.quote(str(Path.cwd()))}
  make run      run the workflow on this machine; it asks you for the approval{page}
  make test     test it
  make deploy   build it and deploy it to AWS

README.md goes on from there.
""")
