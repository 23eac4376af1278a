import EnvoyAPI
import Serialization
import Testing

@testable import Upstream

/// A request as the proxy's offset table would show it.
struct TestRequest: RequestView {
    private var bytes: [UInt8] = []
    private var pseudo: [String: Range<Int>] = [:]
    private var fields: [(name: [UInt8], value: Range<Int>)] = []

    init(
        _ path: String = "/", method: String = "GET", host: String = "a.com", scheme: String = "http",
        upgrade: String = "", _ headers: KeyValuePairs<String, String> = [:]
    ) {
        pseudo["path"] = add(path)
        pseudo["method"] = add(method)
        pseudo["host"] = add(host)
        pseudo["scheme"] = add(scheme)
        pseudo["upgrade"] = add(upgrade)
        for (name, value) in headers { fields.append((Array(name.lowercased().utf8), add(value))) }
    }

    private mutating func add(_ text: String) -> Range<Int> {
        let start = bytes.count
        bytes.append(contentsOf: text.utf8)
        return start..<bytes.count
    }

    @_lifetime(borrow self)
    private func span(_ name: String) -> Span<UInt8> { bytes.span.extracting(pseudo[name] ?? 0..<0) }

    var path: Span<UInt8> { @_lifetime(borrow self) get { span("path") } }
    var method: Span<UInt8> { @_lifetime(borrow self) get { span("method") } }
    var authority: Span<UInt8> { @_lifetime(borrow self) get { span("host") } }
    var scheme: Span<UInt8> { @_lifetime(borrow self) get { span("scheme") } }
    var upgrade: Span<UInt8> { @_lifetime(borrow self) get { span("upgrade") } }

    func nextField(named name: borrowing HeaderName, from start: Int) -> Int? {
        guard start < fields.count else { return nil }
        let wanted = name.bytes
        return fields[start...].firstIndex { $0.name == wanted }
    }

    @_lifetime(borrow self)
    func fieldValue(at index: Int) -> Span<UInt8> { bytes.span.extracting(fields[index].value) }
}

/// Response fields.
struct TestResponse: ResponseView {
    private let request: TestRequest

    init(_ headers: KeyValuePairs<String, String>) { request = TestRequest(headers) }

    func nextField(named name: borrowing HeaderName, from start: Int) -> Int? {
        request.nextField(named: name, from: start)
    }

    @_lifetime(borrow self)
    func fieldValue(at index: Int) -> Span<UInt8> { request.fieldValue(at: index) }
}

extension TestRequest {
    fileprivate init(_ headers: KeyValuePairs<String, String>) { self.init("/", headers) }
}

func routeTable(_ json: String) throws -> RouteTable {
    try RouteTable(compiling: try RouteConfiguration(json: try JSON.parse(json)), filters: takeFaults)
}

/// Compiles the fault filter's messages, as the proxy does; every other filter is unknown.
let takeFaults: RouteFilterCompiler = { _, any, path throws(ConfigurationError) in
    guard any.holds(HTTPFault.self) else { return nil }
    let message: HTTPFault
    do throws(MessageError) {
        message = try any.unpack(as: HTTPFault.self)
    } catch {
        throw ConfigurationError(at: path, error.problem)
    }
    return try FaultPolicy(compiling: message, path: path)
}

/// A table with one virtual host for everything and these routes.
func routes(_ json: String) throws -> RouteTable {
    try routeTable(#"{"name":"r","virtual_hosts":[{"name":"v","domains":["*"],"routes":["# + json + "]}]}")
}

func cluster(_ json: String) throws -> ClusterConfig {
    try ClusterConfig(compiling: try Cluster(json: try JSON.parse(json)))
}

extension RouteTable {
    /// The name of the route for a request.
    func pick(_ request: TestRequest, random: UInt64 = 0) -> String? {
        route(for: request, random: random)?.route.name
    }
}

func text(_ bytes: [UInt8]?) -> String? { bytes.map { String(decoding: $0, as: UTF8.self) } }

/// Endpoints 10.0.0.1 … of one priority.
func endpoints(_ count: Int, priority: UInt32 = 0, base: Int = 0, weights: [UInt32] = []) -> EndpointTable.Group {
    var group = EndpointTable.Group(
        endpoints: (0..<count).map { index in
            var endpoint = EndpointTable.Endpoint(address: .ip("10.\(priority).\(base).\(index + 1)", port: 80))
            if index < weights.count { endpoint.weight = weights[index] }
            return endpoint
        })
    group.priority = priority
    return group
}

func table(_ groups: EndpointTable.Group...) -> EndpointTable {
    var table = EndpointTable()
    table.groups = groups
    return table
}

/// Whether a count of a binomial distribution is within 4 sigma; with fixed seeds the outcome never changes.
func isNear(_ count: Int, share: Double, of total: Int) -> Bool {
    let mean = share * Double(total)
    let sigma = (Double(total) * share * (1 - share)).squareRoot()
    return abs(Double(count) - mean) <= 4 * max(sigma, 0.5)
}

func routeConfiguration(_ json: String) throws -> RouteConfiguration {
    try RouteConfiguration(json: try JSON.parse(json))
}
