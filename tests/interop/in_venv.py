"""Runs a script in the virtual environment of these tests, which it makes first if need be.

    python3 in_venv.py                  makes the environment and installs requirements.txt and, where it can be
                                        had, requirements-optional.txt, once
    python3 in_venv.py SCRIPT ARGS...   does that, then runs the script

Only `python3` itself has to be allowed to run: the environment's own interpreter is started from here.
"""
import contextlib, hashlib, os, pathlib, subprocess, sys, venv

HERE = pathlib.Path(__file__).resolve().parent
ENVIRONMENT = HERE / ".venv"
REQUIREMENTS = HERE / "requirements.txt"
OPTIONAL = HERE / "requirements-optional.txt"
STAMP = ENVIRONMENT / "koala-lm-stamp"
PYTHON = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@contextlib.contextmanager
def lock():
    """Lets test files that run in parallel make one environment, not two in the same place."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with open(REQUIREMENTS) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def prepare():
    digest = hashlib.sha256(REQUIREMENTS.read_bytes() + OPTIONAL.read_bytes() + sys.version.encode()).hexdigest()
    with lock():
        if STAMP.exists() and STAMP.read_text() == digest and PYTHON.exists():
            return
        print(f"installing {REQUIREMENTS.name} into {ENVIRONMENT.name} (once)", file=sys.stderr, flush=True)
        venv.create(ENVIRONMENT, clear=True, with_pip=True)
        pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "0"]
        done = subprocess.run([*pip, "-r", REQUIREMENTS], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise RuntimeError("pip cannot install the requirements: " + " ".join(errors or ["no reason given"]))
        # Tests that need these say so when they are not there.
        subprocess.run([*pip, "-r", OPTIONAL], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        STAMP.write_text(digest)


def main():
    try:
        prepare()
    except Exception as error:  # whatever is missing (venv, pip, network, disk), the tests only need the reason
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 3
    if len(sys.argv) < 2:
        return 0
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    return subprocess.run([PYTHON, *sys.argv[1:]], env={**os.environ, **offline, "PYTHONUTF8": "1"}).returncode


if __name__ == "__main__":
    sys.exit(main())
