"""skein-cni beside a node agent: the agent does its work and the mesh learns of the container; an agent that is killed leaves nothing behind."""
import json
import os
import pathlib
import signal
import subprocess
import time

from .crash import everything_gone
from .lab import ROOT, check, shell

SKEIN = os.environ.get("SKEIN_BINARY", str(ROOT / ".build/release/skein"))
PATH = "/apis/networking.istio.io/v1/namespaces/default/workloadentries"
NAMED = {"CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=my-box;K8S_POD_NAME=my-box"}


def soon(body, seconds=60):
    end = time.time() + seconds
    while not body() and time.time() < end:
        time.sleep(0.05)
    return body()


def entries():
    done = shell(["curl", "-s", "--unix-socket", "/run/skein/api.sock", f"http://localhost{PATH}"])
    try:
        return [item["spec"]["address"] for item in json.loads(done)["items"]]
    except (ValueError, KeyError):
        return None


def call(lab, verb, configuration, name):
    done = subprocess.run([lab.program], input=json.dumps(configuration), env=lab.environment(verb, name, name, **NAMED), capture_output=True, text=True, timeout=60)
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else {}, done.stderr


def agent(lab):
    log = pathlib.Path(lab.folder, "agent.log")
    data = pathlib.Path(lab.folder, "data")
    os.chmod(lab.folder, 0o711)  # The control plane is somebody else than root.
    configuration = lab.bridge("node1", "10.240.0.0/24")
    lab.namespace("box")

    def start():
        ready = log.read_text().count("Ctrl-C") if log.exists() else 0
        with log.open("ab") as out:
            process = subprocess.Popen([SKEIN, "up", "--images", "host", "--data-dir", str(data)], stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        if not soon(lambda: log.read_text().count("Ctrl-C") > ready):
            raise RuntimeError(log.read_text()[-2000:])
        return process
    process = start()
    try:
        status, answer, said = call(lab, "ADD", configuration, "box")
        address = answer.get("ips", [{}])[0].get("address", "").split("/")[0]
        check("ADD by the node agent", status == 0 and lab.addresses("box") == [address] and not said, f"{answer} {said}")
        check("the mesh learns of the container", soon(lambda: entries() == [address]), entries())
        status, answer, said = call(lab, "DEL", configuration, "box")
        check("DEL by the node agent", status == 0 and not said and not everything_gone(lab, "node1"), f"{answer} {said}")
        check("and the mesh forgets it", soon(lambda: entries() == []), entries())
        problems, refused = [], 0
        for attempt in range(4):
            # Killed while it works, a little later each time; the runtime calls DEL after whatever the ADD has said.
            add = subprocess.Popen([lab.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env=lab.environment("ADD", "box", "box", **NAMED))
            add.stdin.write(json.dumps(configuration))
            add.stdin.close()
            time.sleep(0.003 * (attempt + 1))
            process.send_signal(signal.SIGKILL)
            process.wait()
            answer = add.stdout.read()
            status = add.wait(timeout=60)
            refused += status != 0
            if status and json.loads(answer).get("code") != 11:
                problems.append(answer)
            status, answer, said = call(lab, "DEL", configuration, "box")
            problems += [f"DEL {attempt}: {answer}"] if status else []
            problems += everything_gone(lab, "node1") + lab.addresses("box")
            if "done without it" not in said:
                problems.append(f"nothing said of the dead agent: {said}")
            process = start()
        check(f"ATK-41 an agent that is killed during ADD leaves nothing ({refused} of 4 were refused)", not problems, problems)
        status, answer, _ = call(lab, "ADD", configuration, "box")
        check("the next agent serves", status == 0 and soon(lambda: entries() == [answer["ips"][0]["address"].split("/")[0]]), f"{answer} {entries()}")
        process.send_signal(signal.SIGKILL)
        process.wait()
        status, answer, said = call(lab, "DEL", configuration, "box")
        check("without the agent DEL is done alone, and says so", status == 0 and "done without it" in said, f"{answer} {said}")
        process = start()
        check("the next agent takes back what the mesh knew of it", soon(lambda: entries() == []), entries())
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        shell([SKEIN, "down", "--data-dir", str(data)])
