import KubernetesAPI
import Serialization
import Testing

@testable import Workloads

@Suite("Containers in Docker's words")
struct RunWishTests {
    @Test("what docker run says becomes a pod that means the same")
    func pod() throws {
        var wish = RunWish(name: "web", image: "nginx")
        wish.command = ["-g", "daemon off;"]
        wish.network = "shop"
        wish.ip = "10.1.0.9"
        wish.aliases = ["www"]
        wish.ports = ["8080:80", "127.0.0.1:53:5353/udp"]
        wish.environment = ["A=b$c"]
        wish.volumes = ["/srv:/data:ro", "/scratch"]
        wish.user = "1000:100"
        wish.restart = "unless-stopped"
        wish.memory = "64m"
        wish.processors = "0.5"
        let pod = try PodManifest(KubernetesObject(json: Self.stored(try wish.pod())))
        let container = try #require(pod.containers.first)
        #expect(container.arguments == ["-g", "daemon off;"] && container.command.isEmpty)
        #expect(pod.restartPolicy == .always)
        #expect(container.uid == 1000 && container.gid == 100)
        #expect(container.resources.memoryLimitBytes == 64 << 20 && container.resources.cpuLimitMillis == 500)
        #expect(container.mounts.map(\.path) == ["/data", "/scratch"])
        #expect(container.mounts.first?.isReadOnly == true)
        #expect(SidecarPlan.role(of: pod, namespaceLabels: [:]) == .none)
        let networks = try JSON.parse(pod.annotations["skein.dev/networks"] ?? "")
        #expect(networks["networks"] == [["name": "shop", "ip": "10.1.0.9", "aliases": ["www"]]])
        #expect(
            networks["ports"] == [
                ["Proto": 6, "Port": 80, "HostPort": 8080, "HostPortEnd": 8080],
                ["Proto": 17, "Port": 5353, "HostIP": "127.0.0.1", "HostPort": 53, "HostPortEnd": 53],
            ])
        #expect(try wish.pod()["spec"]?["containers"]?[0]?["env"]?[0]?["value"] == "b$$c")
    }

    private static func stored(_ json: JSON) -> JSON {
        var json = json
        json["metadata"]?["uid"] = "4d1e"
        return json
    }

    @Test("a network that a container has joined or left is remembered with its pod")
    func remembered() throws {
        let text = "{\"networks\":[{\"name\":\"a\"}],\"ports\":[]}"
        let both = try #require(RunWish.networksText(text, connecting: ["name": "b", "ip": "10.0.0.2"]))
        #expect(try JSON.parse(both)["networks"] == [["name": "a"], ["name": "b", "ip": "10.0.0.2"]])
        let left = try #require(RunWish.networksText(both, leaving: "a"))
        #expect(try JSON.parse(left)["networks"] == [["name": "b", "ip": "10.0.0.2"]])
        #expect(RunWish.networksText("{}", leaving: "a") == nil)
    }

    @Test("the mesh's network makes a pod with a sidecar, the machine's one without")
    func predefined() throws {
        var wish = RunWish(name: "web", image: "nginx")
        for (network, role) in [("mesh", PodLifecycle.ProxyRole.sidecar), ("host", .none), ("none", .none)] {
            wish.network = network
            let pod = try PodManifest(KubernetesObject(json: Self.stored(try wish.pod())))
            #expect(SidecarPlan.role(of: pod, namespaceLabels: [:]) == role, "\(network)")
            #expect(pod.usesHostNetwork == (network == "host"))
            #expect((pod.annotations["skein.dev/networks"] != nil) == (network == "none"))
        }
    }

    @Test(
        "ports are read as Docker reads them",
        arguments: [
            ("80", ["80"]), ("8080:80", ["80<8080-8080"]), ("8000-8001:80-81/tcp", ["80<8000-8000", "81<8001-8001"]),
            ("9000-9010:80", ["80<9000-9010"]), ("[::1]:8080:80", ["80<8080-8080"]), ("127.0.0.1::80", ["80"]),
        ])
    func ports(_ text: String, _ expected: [String]) throws {
        let found = try RunWish.publication(text).map { port in
            "\(port["Port"]?.int ?? 0)"
                + (port["HostPort"]?.int.map { "<\($0)-\(port["HostPortEnd"]?.int ?? 0)" } ?? "")
        }
        #expect(found == expected)
    }

    @Test("what has no meaning here is refused with its flag")
    func refusals() {
        func refusal(_ change: (inout RunWish) -> Void) -> String {
            var wish = RunWish(name: "web", image: "nginx")
            change(&wish)
            do throws(WorkloadError) { _ = try wish.pod() } catch { return error.message }
            return ""
        }
        for bad in ["", "80:", "80:90:100:110", "0:80", "x", "80/icmp", "70000", "1-3:4-5", "1.2.3:80:80", "[::1:80"] {
            #expect(refusal { $0.ports = [bad] }.hasPrefix("-p"), "\(bad)")
        }
        #expect(refusal { $0.name = "A_b" }.hasPrefix("--name"))
        #expect(refusal { $0.volumes = ["data:/data"] }.hasPrefix("-v"))
        #expect(refusal { $0.volumes = ["/a:/b:z"] }.hasPrefix("-v"))
        #expect(refusal { $0.user = "root" }.hasPrefix("-u"))
        #expect(refusal { $0.restart = "on-failure:3" }.hasPrefix("--restart"))
        #expect(refusal { $0.network = "container:x" }.hasPrefix("--network"))
        #expect(refusal { $0.memory = "lots" }.hasPrefix("-m"))
        #expect(refusal { $0.processors = "-1" }.hasPrefix("--cpus"))
        #expect(refusal { $0.hosts = ["x"] }.hasPrefix("--add-host"))
        for network in ["mesh", "host", "none"] {
            #expect(refusal { ($0.network, $0.ports) = (network, ["80:80"]) }.hasPrefix("-p"), "\(network)")
            #expect(refusal { ($0.network, $0.ip) = (network, "10.0.0.1") }.hasPrefix("--ip"), "\(network)")
        }
    }

    @Test("ps shows a pod's states in Docker's words")
    func states() throws {
        let now = try #require(Timestamp("2026-01-01T12:00:00Z"))
        func status(_ state: JSON?) -> String {
            var json: JSON = ["metadata": ["name": "web", "uid": "ab-cd"], "status": [:]]
            if let state { json["status"] = ["containerStatuses": [["name": "main", "state": state]]] }
            return ContainerView(KubernetesObject(json: json)).status(now: now)
        }
        #expect(status(nil) == "Created")
        #expect(status(["waiting": ["reason": "ErrImageNeverPull"]]) == "Created (ErrImageNeverPull)")
        #expect(status(["running": ["startedAt": "2026-01-01T11:55:00Z"]]) == "Up 5 minutes")
        #expect(
            status(["terminated": ["exitCode": 3, "finishedAt": "2026-01-01T09:00:00Z"]]) == "Exited (3) 3 hours ago")
        #expect(
            ContainerView.ports([["host": 8080, "container": 80, "transport": 6, "address": "::1"]])
                == "[::1]:8080->80/tcp")
    }
}
