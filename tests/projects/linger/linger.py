"""Starts a daemon and a child that ignores TERM, both of which sleep for TOKEN seconds; waits."""

import argparse
import subprocess
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("--token", required=True)
token = parser.parse_args().token
subprocess.Popen(["sleep", token], start_new_session=True)
subprocess.Popen(["bash", "-c", f"trap '' TERM; sleep {token}; sleep {token}"])
sys.stdout.write("up\n")
sys.stdout.flush()
time.sleep(600)
