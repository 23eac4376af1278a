"""docker-compose on our networks: what people have in their compose files."""
import json
import pathlib
import subprocess

from .engine import gone
from .lab import IMAGE, check

FILE = """
version: "3.8"
services:
  web:
    image: IMAGE
    command: ["serve", "web", "80"]
    networks:
      front: {}
      back: { aliases: [inner] }
    ports: ["18080:80"]
    depends_on: [store]
  store:
    image: IMAGE
    command: ["serve", "store", "80"]
    networks:
      back: { ipv4_address: 10.77.0.9 }
  other:
    image: IMAGE
    command: ["serve", "other", "80"]
    networks: [front]
networks:
  front:
    driver: skein
  back:
    driver: skein
    driver_opts: { com.docker.network.driver.mtu: "1400" }
    ipam: { driver: skein, config: [ { subnet: 10.77.0.0/24 } ] }
"""


def compose(lab):
    folder = pathlib.Path(lab.folder, "shop")
    folder.mkdir()
    folder.joinpath("docker-compose.yml").write_text(FILE.replace("IMAGE", IMAGE))

    def run(*words):
        return subprocess.run(["docker-compose", "-H", "unix:///run/docker.sock", *words], cwd=folder, capture_output=True, text=True, timeout=120)

    begun = run("up", "-d", "--scale", "other=2")
    check("docker-compose up makes networks of ours and containers on them", begun.returncode == 0, begun.stderr[-700:])
    names = sorted(lab.docker("ps", "--format", "{{.Names}}").splitlines())
    check("every container runs", names == ["shop_other_1", "shop_other_2", "shop_store_1", "shop_web_1"], names)
    networks = {name: json.loads(lab.docker("network", "inspect", f"shop_{name}"))[0] for name in ("front", "back")}
    check("its networks are ours, with the labels of compose", all(n["Driver"] == "skein" and n["Labels"]["com.docker.compose.project"] == "shop"
                                                                    for n in networks.values()), networks)
    answers = lab.asks(("shop_web_1", "store"), ("shop_store_1", "inner"), ("shop_other_1", "web"), ("shop_other_1", "store"), ("shop_other_1", "10.77.0.9"),
                       (None, "127.0.0.1", 18080))
    address = {container: lab.address(container, network) for container, network in
               [("shop_web_1", "shop_back"), ("shop_store_1", "shop_back"), ("shop_other_1", "shop_front")]}
    check("services reach each other by name, alias and network", answers[:5] == [f"store {address['shop_web_1']}", f"web {address['shop_store_1']}",
          f"web {address['shop_other_1']}", "no name", "timeout"], (answers, address))
    check("the published port answers on this machine", answers[5].startswith("web "), answers)
    check("the fixed address holds", address["shop_store_1"] == "10.77.0.9", address)
    again = run("restart", "-t", "1", "store")
    answers = lab.asks(("shop_web_1", "store"))
    check("after docker-compose restart it is there again", again.returncode == 0 and answers == [f"store {address['shop_web_1']}"], (again.stderr[-300:], answers))
    more = run("up", "-d", "--scale", "other=4")
    running = [name for name in lab.docker("ps", "--format", "{{.Names}}").splitlines() if "other" in name]
    check("scaled up, the new ones are on the network", more.returncode == 0 and len(running) == 4
          and lab.ask("shop_other_4", "web").startswith("web "), (more.stderr[-300:], running))
    ended = run("down", "-t", "1")
    check("docker-compose down takes all of it away", ended.returncode == 0 and "shop_" not in lab.docker("network", "ls", "--format", "{{.Name}}"), ended.stderr[-700:])
    gone(lab, "docker-compose")
