internal import CNI
internal import Glibc
internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Serialization
internal import Telemetry

// What skein-cni asks the agent to do in its place: the same work, without the start of a program's own, and the mesh learns of it.
extension NodeAgent {
    /// The namespaces that must be the agent's own: links and files are made where the plugin would have made them.
    private static let sharedNamespaces = ["net", "mnt"]

    /// Does the call of a plugin; whoever is in other namespaces, or not root, is told to do without.
    func answerPlugin(_ request: HTTPRequest) async -> HTTPResponse {
        guard let caller = request.peer.credentials, caller.uid == 0 else {
            return HTTPResponse(status: 403, text: "only root may call\n")
        }
        guard !isStopping else { return HTTPResponse(status: 503, text: "the node agent ends\n") }
        for kind in Self.sharedNamespaces {
            let own = try? File.readLink("/proc/self/ns/\(kind)")
            guard let own, own == (try? File.readLink("/proc/\(caller.pid)/ns/\(kind)")) else {
                return HTTPResponse(status: 409, text: "the caller is in another namespace (\(kind))\n")
            }
        }
        let call: PluginCall
        do {
            let bytes = try await request.body.collect()
            guard let read = PluginCall(try JSON.parse(bytes)) else {
                return HTTPResponse(status: 400, text: "no call of a plugin\n")
            }
            call = read
        } catch { return HTTPResponse(status: 400, text: "the call cannot be read: \(error)\n") }
        let answer = await pool.run {
            CNIPlugin(isLasting: true) { call.environment[$0] }.run(input: call.input)
        }
        pluginCalls &+= 1
        if answer.status == 0 { inTurn { await $0.tellMesh(call, answer.output) } }
        let body: JSON = [
            "status": .integer(Int64(answer.status)), "output": .string(String(decoding: answer.output, as: UTF8.self)),
        ]
        return HTTPResponse(status: 200, contentType: "application/json", body: body.bytes)
    }

    // MARK: The mesh

    /// Does what concerns the mesh's containers one after the other, in the order of the calls.
    func inTurn(_ body: @escaping @Sendable (isolated NodeAgent) async -> Void) {
        let before = meshTurn
        meshTurn = Task(executorPreference: loop) {
            await before?.value
            await body(self)
        }
    }

    private static let workloadPath =
        "/apis/networking.istio.io/v1/namespaces/\(MachineContainer.namespace)/workloadentries"

    /// Writes down, or takes back, that a container with a name is on this machine.
    ///
    /// Of Kubernetes' own pods the mesh learns otherwise.
    private func tellMesh(_ call: PluginCall, _ output: [UInt8]) async {
        do throws(APIError) {
            switch call.verb {
            case "ADD":
                guard let entry = call.workload(try? JSON.parse(output), node: configuration.nodeName) else { return }
                do throws(APIError) {
                    _ = try await api.send("POST", Self.workloadPath, body: entry, contentType: "application/json")
                } catch  where error.status == 409 {
                    // Of an ADD whose DEL nobody has told us of: the same container, which may have another address now.
                    let path = "\(Self.workloadPath)/\(call.workloadName ?? "")"
                    _ = try await api.send("PATCH", path, body: entry, contentType: "application/merge-patch+json")
                }
            case "DEL":
                guard call.container != nil, let name = call.workloadName else { return }
                _ = try await api.send("DELETE", "\(Self.workloadPath)/\(name)", body: nil, contentType: "")
            default: break
            }
        } catch {
            // 404: it never was in the mesh.
            guard error.status != 404 else { return }
            log.warning("the mesh was not told of a container", ["call": call.verb, "error": error.description])
        }
    }

    /// Takes back what containers left that ended while no agent ran: their links are gone.
    func forgetGoneContainers() async {
        do throws(APIError) {
            let selector = "?labelSelector=\(MachineContainer.nodeLabel)%3D\(configuration.nodeName)"
            let list = try await api.send("GET", Self.workloadPath + selector, body: nil, contentType: "")
            for item in list["items"]?.array ?? [] {
                let object = KubernetesObject(json: item)
                guard let link = object.metadata.annotations[MachineContainer.linkAnnotation], if_nametoindex(link) == 0
                else {
                    continue
                }
                _ = try await api.send(
                    "DELETE", "\(Self.workloadPath)/\(object.name)", body: nil, contentType: "")
            }
        } catch { log.warning("containers of a former life are not looked through", ["error": error.description]) }
    }
}

/// One call of skein-cni, as it is sent.
///
/// Pure.
struct PluginCall: Sendable {
    var environment: [String: String]
    var input: [UInt8]

    /// Reads it; nil when it is none.
    init?(_ json: JSON) {
        guard let environment = json["environment"]?.object, let input = json["input"]?.string else { return nil }
        self.environment = environment.compactMapValues(\.string)
        self.input = Array(input.utf8)
    }

    var verb: String { environment["CNI_COMMAND"] ?? "" }

    /// The object's name: of this container and interface, and a name of the API; nil when it cannot be one.
    var workloadName: String? {
        let container = (environment["CNI_CONTAINERID"] ?? "").lowercased().prefix(64)
        let name = "\(MachineContainer.namePrefix)\(container)-\((environment["CNI_IFNAME"] ?? "").lowercased())"
        let isName = name.utf8.allSatisfy { (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2d }
        return isName && name.utf8.last != 0x2d && !container.isEmpty ? name : nil
    }

    /// What the runtime calls the container; Kubernetes' pods, which say their uid too, are in the API already.
    var container: String? {
        var values: [String: String] = [:]
        for pair in (environment["CNI_ARGS"] ?? "").split(separator: ";") {
            let parts = pair.split(separator: "=", maxSplits: 1).map(String.init)
            if parts.count == 2 { values[parts[0]] = parts[1] }
        }
        guard values["K8S_POD_UID"] == nil, let name = values["K8S_POD_NAME"]?.lowercased(), name.utf8.count <= 63
        else { return nil }
        let isLabel = name.utf8.allSatisfy { (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2d }
        return isLabel && name.utf8.first != 0x2d && name.utf8.last != 0x2d && !name.isEmpty ? name : nil
    }

    /// The container as a WorkloadEntry: label `skein.dev/container` is its name; nil when it has no name or no link of its own here.
    func workload(_ result: JSON?, node: String) -> JSON? {
        let interfaces = result?["interfaces"]?.array ?? []
        guard let name = workloadName, let container,
            let address = result?["ips"]?[0]?["address"]?.string?.split(separator: "/").first,
            let link = interfaces.first(where: {
                $0["sandbox"]?.string ?? "" == "" && $0["name"]?.string?.hasPrefix("skc") == true
            })?["name"]
        else { return nil }
        let labels: JSON = [
            MachineContainer.containerLabel: .string(container), MachineContainer.nodeLabel: .string(node),
        ]
        return [
            "apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry",
            "metadata": [
                "name": .string(name), "labels": labels, "annotations": [MachineContainer.linkAnnotation: link],
            ],
            "spec": [
                "address": .string(String(address)), "labels": [MachineContainer.containerLabel: .string(container)],
            ],
        ]
    }
}
