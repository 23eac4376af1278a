import HTTP
import KubernetesAPI
import Mesh
import Serialization

/// What `skein plan --change` asks: `POST /skein/v1/forecast` with a list of objects, below the API, for administrators.
///
/// The answer has what each proxy would be sent (`proxies`), and what each of the objects alone would cause (`causes`).
enum ForecastPage {
    static let path = "/skein/v1/forecast"
    /// Objects of a list at most.
    private static let objectsMax = 1000
    /// Objects that are looked at alone, too; with more, only all of them together.
    private static let causesMax = 16

    /// The answer; nil when it is another page.
    static func answer(_ request: HTTPRequest, _ streams: ProxyStreams?) async -> HTTPResponse? {
        guard request.path == path else { return nil }
        guard request.head.method == .post else { return HTTPResponse(status: 405, text: "POST only\n") }
        guard let streams else { return HTTPResponse(status: 503, text: "no proxies are served here\n") }
        let items: [JSON]
        do throws(HTTPError) {
            let bytes = try await request.body.collect()
            guard let json = try? JSON.parse(bytes), let found = json["items"]?.array, found.count <= objectsMax else {
                return HTTPResponse(status: 400, text: "a list of at most \(objectsMax) objects is needed\n")
            }
            items = found
        } catch {
            return HTTPResponse(status: 413, text: "the list was not read, or is too long: \(error)\n")
        }
        let publisher = streams.publisher
        return HTTPResponse(
            status: 200, contentType: "application/json",
            body: json(items.map { KubernetesObject(json: $0) }, publisher).bytes)
    }

    static func json(_ objects: [KubernetesObject], _ publisher: SnapshotPublisher) -> JSON {
        let all = publisher.forecast(objects)
        var causes: [JSON] = []
        for object in objects where objects.count <= causesMax {
            let alone = objects.count == 1 ? all : publisher.forecast([object])
            var members = json(alone.map(\.sum))
            members["kind"] = .string(object.kind)
            members["namespace"] = .string(object.namespace)
            members["name"] = .string(object.name)
            members["proxies"] = .integer(Int64(alone.count))
            causes.append(.object(members))
        }
        return [
            "connected": .integer(Int64(publisher.streamCount)),
            "unsettled": .integer(Int64(all.count { !$0.isSettled })), "causes": .array(causes),
            "proxies": .array(
                all.map { proxy in
                    var members = json([proxy.sum])
                    members["namespace"] = .string(proxy.pod.namespace)
                    members["pod"] = .string(proxy.pod.name)
                    members["types"] = .object(
                        Dictionary(
                            proxy.types.map { (DiscoveryPages.column($0.key), .object(json([$0.value]))) },
                            uniquingKeysWith: { first, _ in first }))
                    return .object(members)
                }),
        ]
    }

    private static func json(_ traffic: [StreamTraffic]) -> [String: JSON] {
        var sum = StreamTraffic()
        for one in traffic { sum.add(one) }
        return [
            "messages": .integer(Int64(sum.responses)), "bytes": .integer(Int64(sum.responseBytes)),
            "resources": .integer(Int64(sum.resources)),
        ]
    }
}
