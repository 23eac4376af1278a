"""Real container runtimes on our network: podman with its CNI backend, containerd with its CRI."""
import hashlib
import io
import json
import os
import pathlib
import subprocess
import tarfile
import time

from .lab import check, note, shell

IMAGE = "skein.test/peer:1"


def image(lab):
    """An OCI archive with one program in it."""
    path = f"{lab.folder}/image.tar"
    if os.path.exists(path):
        return path
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(lab.peer, "peer")
        for name in ("etc", "proc", "sys", "dev", "tmp"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
    layer = layer.getvalue()
    blobs = {}

    def blob(data, kind, **more):
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(data), **more}

    configuration = blob({"architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/peer"], "Cmd": ["serve", "pod", "80"]},
                          "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}, "config.v1+json")
    manifest = blob({"schemaVersion": 2, "config": configuration, "layers": [blob(layer, "layer.v1.tar")]}, "manifest.v1+json",
                    annotations={"org.opencontainers.image.ref.name": IMAGE, "io.containerd.image.name": IMAGE},
                    platform={"architecture": "amd64", "os": "linux"})
    with tarfile.open(path, "w") as tar:
        for name, data in [("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", json.dumps({"schemaVersion": 2, "manifests": [manifest]}).encode())] + [
                (f"blobs/sha256/{digest}", data) for digest, data in blobs.items()]:
            item = tarfile.TarInfo(name)
            item.size = len(data)
            tar.addfile(item, io.BytesIO(data))
    return path


def networks(lab):
    """Two networks for runtimes: one as a drop-in for the reference bridge, one of the driver `routed`."""
    bridge = {"type": "skein-cni", "bridge": "sk-a", "isGateway": True, "ipMasq": True, "hairpinMode": True, "isolate": True,
              "capabilities": {"portMappings": True, "ips": True, "mac": True, "aliases": True},
              "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.240.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}
    routed = {"type": "skein-cni", "driver": "routed", "capabilities": {"portMappings": True}, "ipam": {"type": "skein", "subnet": "10.241.0.0/24"}}
    for number, (name, plugin) in enumerate([("skein-a", bridge), ("skein-b", routed)]):
        pathlib.Path(f"/etc/cni/net.d/{number}-{name}.conflist").write_text(json.dumps({"cniVersion": "0.4.0", "name": name, "plugins": [plugin]}))


def podman(lab):
    networks(lab)
    configuration = pathlib.Path(lab.folder, "containers.conf")
    configuration.write_text(f'[network]\nnetwork_backend = "cni"\ncni_plugin_dirs = ["{lab.plugins}"]\nnetwork_config_dir = "/etc/cni/net.d"\n'
                             '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
                             '[containers]\nlog_driver = "k8s-file"\napparmor_profile = ""\nseccomp_profile = "unconfined"\n')
    policy = pathlib.Path(lab.folder, "policy.json")
    policy.write_text('{"default":[{"type":"insecureAcceptAnything"}]}')
    environment = {**os.environ, "CONTAINERS_CONF": str(configuration), "TMPDIR": lab.folder, "HOME": lab.folder}
    base = ["podman", "--root", f"{lab.folder}/podman", "--runroot", "/run/skein-podman", "--tmpdir", "/run/skein-podman-tmp", "--storage-driver", "vfs"]

    def run(*words, okay=True):
        done = subprocess.run([*base, *words], env=environment, capture_output=True, text=True, timeout=60)
        if okay and done.returncode:
            raise RuntimeError(f"podman {' '.join(words)}: {done.stderr.strip()[-700:]}")
        return done.stdout.strip()

    try:
        subprocess.run([*base, "load", "--signature-policy", str(policy), "-q", "-i", image(lab)], env=environment, check=True, capture_output=True, timeout=60)
        run("run", "-d", "--name", "web", "--network", "skein-a", "-p", "8087:80", IMAGE, "serve", "web", "80")
        run("run", "-d", "--name", "client", "--network", "skein-a", "--ip", "10.240.0.77", IMAGE, "serve", "client", "80")
        run("run", "-d", "--name", "other", "--network", "skein-b", "-p", "8088:80", IMAGE, "serve", "other", "80")
        run("run", "-d", "--name", "second", "--network", "skein-b", IMAGE, "serve", "second", "80")
        address = {name: run("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name) for name in ("web", "client", "other", "second")}
        ask = lambda name, to, port=80: run("exec", name, "/peer", "ask", to, str(port), okay=False)
        check("podman: --ip gives that address", address["client"] == "10.240.0.77", address)
        check("podman: two on one network reach each other", ask("client", address["web"]) == f"web {address['client']}"
              and ask("second", address["other"]) == f"other {address['second']}", (ask("client", address["web"]), ask("second", address["other"]), address))
        check("podman: one on another network does not", ask("other", address["web"]) == "timeout" and ask("web", address["other"]) == "timeout",
              (ask("other", address["web"]), ask("web", address["other"])))
        check("podman: published ports answer, on loopback too", lab.ask("", "127.0.0.1", 8087).startswith("web ") and lab.ask("", "127.0.0.1", 8088).startswith("other ")
              and lab.ask("", "10.240.0.1", 8087).startswith("web "), (lab.ask("", "127.0.0.1", 8087), lab.ask("", "127.0.0.1", 8088)))
        run("restart", "-t", "0", "web")
        check("podman: after a restart it answers", lab.ask("", "127.0.0.1", 8087).startswith("web "), lab.ask("", "127.0.0.1", 8087))
    finally:
        run("rm", "-f", "-t", "0", "-a", okay=False)
    lab.data, data = "/var/lib/cni/networks", lab.data
    check("podman: everything is gone after removal", not lab.links() and not lab.elements() and not lab.taken("skein-a") and not lab.taken("skein-b")
          and not lab.held("skein-a").keys() - set(lab.held("skein-a")), (lab.links(), lab.elements(), lab.taken("skein-a")))
    lab.data = data


# The CRI, as far as it is needed, in protobuf by hand: field numbers of k8s.io/cri-api/pkg/apis/runtime/v1.

def field(number, value):
    def varint(value):
        out = bytearray()
        while True:
            out.append(value & 0x7f | (0x80 if value > 0x7f else 0))
            value >>= 7
            if not value:
                return bytes(out)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value if isinstance(value, bytes) else value.encode()
    return varint(number << 3 | 2) + varint(len(data)) + data


def fields(data):
    found, index = {}, 0

    def varint():
        nonlocal index
        value = shift = 0
        while True:
            byte = data[index]
            index += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value
    while index < len(data):
        key = varint()
        if key & 7 == 0:
            found[key >> 3] = varint()
        elif key & 7 == 2:
            length = varint()
            found[key >> 3] = data[index:index + length]
            index += length
        else:
            raise ValueError("protobuf")
    return found


def containerd(lab):
    import grpc
    networks(lab)
    # A runtime takes the first network of the directory.
    os.remove("/etc/cni/net.d/1-skein-b.conflist")
    address = f"{lab.folder}/containerd.sock"
    pathlib.Path(lab.folder, "containerd.toml").write_text(f'''version = 2
root = "{lab.folder}/containerd"
state = "/run/skein-containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
address = "{address}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{IMAGE}"
disable_apparmor = true
disable_hugetlb_controller = true
tolerate_missing_hugetlb_controller = true
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{lab.plugins}"
conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
''')
    log = open(f"{lab.folder}/containerd.log", "w")
    daemon = subprocess.Popen(["containerd", "-c", f"{lab.folder}/containerd.toml"], stdout=log, stderr=log)
    try:
        end = time.time() + 30
        while time.time() < end and subprocess.run(["ctr", "-a", address, "version"], capture_output=True).returncode:
            time.sleep(0.1)
        done = subprocess.run(["ctr", "-a", address, "-n", "k8s.io", "images", "import", "--snapshotter", "native", image(lab)], capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(done.stderr)
        channel = grpc.insecure_channel(f"unix://{address}")

        def call(method, request):
            return fields(channel.unary_unary(f"/runtime.v1.RuntimeService/{method}", request_serializer=bytes, response_deserializer=bytes)(request, timeout=60))

        def sandbox(number):
            metadata = field(1, f"pod{number}") + field(2, f"uid{number}") + field(3, "default")
            linux = field(1, "/skein-cni-check")
            configuration = field(1, metadata) + field(2, f"pod{number}") + field(3, lab.folder) + field(8, linux)
            if number == 1:
                configuration += field(5, field(2, 80) + field(3, 8089))
            return call("RunPodSandbox", field(1, configuration))[1].decode()

        pods = [sandbox(number) for number in (1, 2)]
        addresses = []
        for pod in pods:
            status = fields(call("PodSandboxStatus", field(1, pod))[1])
            addresses.append(fields(status[5])[1].decode())
        check("containerd: pods get addresses of the network", all(a.startswith("10.240.0.") for a in addresses) and len(set(addresses)) == 2, addresses)
        check("containerd: the host reaches the pods, by a published port too", all(lab.ask("", a, 80).startswith("pod ") for a in addresses)
              and lab.ask("", "127.0.0.1", 8089).startswith("pod "), [lab.ask("", a, 80) for a in addresses] + [lab.ask("", "127.0.0.1", 8089)])
        spaces = [name for name in os.listdir("/run/netns") if name.startswith("cni-")]
        answers = [subprocess.run(["nsenter", f"--net=/run/netns/{space}", lab.peer, "ask", a, "80"], capture_output=True, text=True, timeout=20).stdout for space in spaces for a in addresses]
        check("containerd: pods reach each other", len(answers) == 4 and all(a.startswith("pod ") for a in answers), answers)
        for pod in pods:
            call("StopPodSandbox", field(1, pod))
            call("RemovePodSandbox", field(1, pod))
        lab.data, data = "/var/lib/cni/networks", lab.data
        check("containerd: everything is gone after removal", not lab.links() and not lab.elements() and not lab.taken("skein-a"),
              (lab.links(), lab.elements(), lab.taken("skein-a")))
        lab.data = data
    except Exception:
        log.flush()
        note("containerd: " + "\n".join(open(log.name).read().splitlines()[-8:]))
        raise
    finally:
        daemon.terminate()
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
