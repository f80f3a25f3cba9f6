"""Workflow files."""


def matrix(count, seconds, labels="linux", fail_fast=False):
    """Returns a workflow with `count` jobs."""
    return f"""on: push
jobs:
  m:
    runs-on: {labels}
    strategy:
      fail-fast: {str(fail_fast).lower()}
      matrix:
        i: [{", ".join(str(i) for i in range(count))}]
    steps:
      - run: sleep {seconds}; echo ${{{{ matrix.i }}}}
"""


def timed_matrix(file, count, seconds, labels="linux", fail_fast=False, failing=None):
    """Returns a workflow whose jobs add their repository, their number and the time to a file.
    `failing`: the number of the one that fails by itself."""
    workflow = matrix(count, 0, labels, fail_fast)
    steps = workflow.index("      - run:")
    number = "${{ matrix.i }}"
    return f"""{workflow[:steps]}      - run: |
          echo "$GITHUB_REPOSITORY {number} $(date +%s.%N)" >>{file}
          sleep {seconds}
          test {number} != {failing}
"""


PATHS = """on:
  push:
    paths: ["src/**"]
jobs:
  first:
    runs-on: linux
    steps:
      - run: echo first
  later:
    needs: first
    runs-on: linux
    steps:
      - run: echo later
"""


def surroundings_of(home, path):
    """Returns a workflow that checks a login's umask and user, HOME (a pattern) and an entry of PATH."""
    return f"""on: push
jobs:
  around:
    runs-on: linux
    steps:
      - run: |
          set -x
          test "$(umask)" = 0022
          : >made
          test "$(stat -c %a made)" = 644
          test "$USER" = "$(id -un)"
          test "$LOGNAME" = "$(id -un)"
          case $HOME in {home}) test -d "$HOME" ;; *) exit 1 ;; esac
          case :$PATH: in *:{path}:*) ;; *) exit 1 ;; esac
"""


# What deploy/aws/image/provision installs, and its check.
IN_IMAGE = """on: push
jobs:
  image:
    runs-on: linux
    steps:
      - run: |
          set -ex
          tinqs-ci-image-check
          git --version
          git lfs version
          node --version
          go version
          docker --version
          id runner
          test "$(umask)" = 0022
          test "$HOME" = /root
          test ! -e /opt/guest/powered-off
          sleep 3
"""

AS_USER = """on: push
jobs:
  user:
    runs-on: linux
    steps:
      - run: |
          set -ex
          test "$(id -un)" = runner
          test "$USER" = runner
          test "$LOGNAME" = runner
          test "$HOME" = "$(getent passwd runner | cut -d: -f6)"
          test "$(umask)" = 0022
          touch made
          test "$(stat -c %a:%U made)" = 644:runner
          test "$(id -nG)" = runner
          if cat /var/lib/cloud/instance/user-data.txt; then exit 1; fi
          go version
          node --version
          sleep 3
"""


def places(file, jobs):
    """Returns a workflow whose jobs (labels by name) add their repository and home to a file."""
    parts = [f"""  {name}:
    runs-on: {labels}
    steps:
      - run: echo "$GITHUB_REPOSITORY $HOME" >>{file}; sleep 5
""" for name, labels in jobs.items()]
    return "on: push\njobs:\n" + "".join(parts)
