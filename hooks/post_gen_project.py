"""Say what to do next, and nothing else: the hook runs again when a project is updated."""

SLUG = "{{ cookiecutter.project_slug }}"

print(f"""
{SLUG} is ready. Next:

  cd {SLUG}
  make run      run the workflow on this machine; it asks you for the approval
  make test     test it
  make deploy   build it and deploy it to AWS

README.md goes on from there.
""")
