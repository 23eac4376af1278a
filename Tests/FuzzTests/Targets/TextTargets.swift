import EnvoyAPI
import IO
import Serialization

@testable import Proxy

extension FuzzTarget {
    static let json = FuzzTarget(
        "json",
        words: [
            "{", "}", "[", "]", "\"", "\\u", "\\ud800", "\\udc00", "null", "true", ",", ":", "[[[[[[[[", "{\"a\":",
        ],
        smoke: 4000
    ) { input in
        guard let value = try? JSON.parse(input) else { return }
        let text = value.text
        guard let again = try? JSON.parse(text) else { throw Violation("what is written is not read again: \(text)") }
        try holds(again.text == text, "written and read again it is another: \(again.text)")
        try holds((try? JSON.parse(value.pretty))?.text == text, "in many lines it is another")
    }

    static let yaml = FuzzTarget(
        "yaml",
        words: [
            "- ", ": ", "\n", "  ", "&a ", "*a", "|\n", ">-\n", "'", "\"", "#", "!!str ", "<<: *a", "{", "}", "[", "]",
            "---\n", "...", "\t", "? ",
        ],
        smoke: 4000
    ) { input in
        guard let text = String(validating: input, as: UTF8.self), let documents = try? YAML.parse(text) else { return }
        for document in documents {
            let value = document.json
            // A scalar or list at the top is written as part of something.
            let written = YAML.write(.object(["value": value]))
            let again = try? YAML.parse(written).first?.json
            try holds(
                again?["value"]?.text == value.text, "written and read again it is another: \(value.text): \(written)")
        }
    }

    static let messages = FuzzTarget(
        "messages", words: ["\u{A}", "\u{12}", "\u{8}", "type.googleapis.com/", "\u{7F}"], smoke: 4000
    ) { input in
        let types: [any Message.Type] = [
            Bootstrap.self, Listener.self, Cluster.self, ClusterLoadAssignment.self, RouteConfiguration.self,
            DeltaDiscoveryResponse.self, DiscoveryResponse.self, HttpConnectionManager.self,
        ]
        guard let first = input.first else { return }
        let type = types[Int(first) % types.count]
        try check(type, Array(input.dropFirst()))
    }

    private static func check<M: Message>(_ type: M.Type, _ bytes: [UInt8]) throws {
        guard let message = try? M(serialized: bytes) else { return }
        let written = message.serialized()
        let again: M
        do {
            again = try M(serialized: written)
        } catch { throw Violation("what is written is not read again: \(error)") }
        try holds(again.serialized() == written, "written twice it differs")
        let json = message.json
        _ = try? M(json: json)
        try holds((try? JSON.parse(json.text)) != nil, "its JSON does not parse")
    }

    static let bootstrap = FuzzTarget(
        "bootstrap",
        words: [
            "{ }", "[ ]", "null", "\n", "  ", "static_resources:\n", "listeners:\n", "clusters:\n", "routes: ",
            "typed_config:",
            "regex: \"(\"", "prefix: \"/\"", "0s", "-1s", "1e9s", "numerator: ", "type: STRICT_DNS\n",
            "lb_policy: MAGLEV\n",
        ],
        smoke: 250
    ) { input in
        guard let text = String(validating: input, as: UTF8.self) else { return }
        var options = Options()
        options.configYAML = text
        _ = try? ProxyServer.validate(options)
    }

    static let addresses = FuzzTarget(
        "addresses", words: [":", "::", ".", "/", "[", "]", "%eth0", "ffff:", "fe80::", "/128", "T", "Z", "s", "=="],
        smoke: 6000
    ) { input in
        guard let text = String(validating: input, as: UTF8.self) else { return }
        if let address = IPAddress(text) {
            try holds(IPAddress("\(address)") == address, "\(address) is another address")
        }
        if let address = SocketAddress(text) {
            try holds(SocketAddress("\(address)") == address, "\(address) is another address")
        }
        if let prefix = Prefix(text) { try holds(Prefix("\(prefix)") == prefix, "\(prefix) is another prefix") }
        if let bytes = Base64.decode(text) { try holds(Base64.decode(Base64.encode(bytes)) == bytes, "other bytes") }
    }
}
