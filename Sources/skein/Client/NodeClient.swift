internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Serialization
internal import Workloads

/// Talks to the node agent of this machine, which has its networks and containers.
final class NodeClient: Sendable {
    private let http: HTTPClient
    private let socketPath: String

    init(runDirectory: String, on loop: EventLoop) {
        socketPath = runDirectory + "/kubelet.sock"
        http = HTTPClient(to: .unix(socketPath), on: loop)
    }

    /// Sends one request; a refusal is an answer, too.
    func call(_ method: HTTPMethod, _ path: String, _ body: JSON? = nil) async throws(CommandError) -> Answer {
        do throws(HTTPError) {
            let response = try await http.send(HTTPClientRequest(method, path, body: body?.bytes ?? []))
            let bytes = try await response.collect()
            let json = (try? JSON.parse(bytes)) ?? ["message": .string(String(decoding: bytes, as: UTF8.self))]
            return Answer(status: Int(response.status), json: bytes.isEmpty ? .null : json, warnings: [])
        } catch {
            throw CommandError(
                "the node agent at \(socketPath) does not answer (\(error)); is `skein up` running? see skein status")
        }
    }

    /// What the agent answers; its refusal in the words that Docker has for one.
    func ask(_ method: HTTPMethod, _ path: String, _ body: JSON? = nil) async throws(CommandError) -> JSON {
        let answer = try await call(method, path, body)
        guard answer.isSuccess else { throw CommandError("Error response from daemon: \(answer.message)") }
        return answer.json
    }

    static func path(_ parts: String...) -> String {
        parts.map { "/" + PercentEncoding.encoded($0) }.joined()
    }
}

/// The containers of `skein run`, which are pods with a label.
struct ContainerList: Sendable {
    /// The path of the pods of containers.
    static let path = ResourceKind.pod.path(namespace: "default")
    /// All of them, the youngest first.
    let all: [ContainerView]

    static func load(_ client: KubernetesClient) async throws(CommandError) -> ContainerList {
        let answer = try await client.call(.get, path, query: [("labelSelector", RunWish.label)])
        guard answer.isSuccess else { throw CommandError("Error response from daemon: \(answer.message)") }
        let found = (answer.json["items"]?.array ?? []).map { ContainerView(KubernetesObject(json: $0)) }
        return ContainerList(
            all: found.sorted { ($0.created?.seconds ?? 0, $1.name) > ($1.created?.seconds ?? 0, $0.name) })
    }

    /// The container of that name or beginning of an id.
    func find(_ word: String) throws(CommandError) -> ContainerView {
        if let found = all.first(where: { $0.name == word || $0.id == word }) { return found }
        let matches = word.isEmpty ? [] : all.filter { $0.id.hasPrefix(word) }
        guard let first = matches.first, matches.count == 1 else {
            throw CommandError("Error: No such container: \(word)")
        }
        return first
    }
}

/// Does something to each operand; what fails is said, and the others are done.
func forEach(
    _ operands: [String], _ body: (String) async throws(CommandError) -> Void
) async -> Int32 {
    var status: Int32 = 0
    for operand in operands {
        do throws(CommandError) { try await body(operand) } catch {
            Console.error(error.message + "\n")
            status = 1
        }
    }
    return status
}
