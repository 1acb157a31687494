"""What a serving process asks of Python and of the system."""

import json
import resource
import subprocess
import sys

SETTLED = """
import gc, json, resource
kept = [[number] for number in range(1000)]
from percorso.ops.process import settle
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
settle()
files = resource.getrlimit(resource.RLIMIT_NOFILE)
print(json.dumps([gc.get_freeze_count(), gc.get_threshold(), gc.isenabled(), files]))
"""


def test_a_settled_process_looks_for_garbage_seldom_and_opens_as_many_files_as_it_may() -> None:
    done = subprocess.run([sys.executable, "-c", SETTLED], capture_output=True, check=True, text=True)
    frozen, threshold, enabled, files = json.loads(done.stdout)
    assert frozen > 1000
    assert threshold[0] > 10_000
    assert enabled
    assert files == [resource.getrlimit(resource.RLIMIT_NOFILE)[1]] * 2
