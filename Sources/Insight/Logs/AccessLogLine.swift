public import Serialization

/// One line of a proxy's access log, without what a client sent beyond method, path and host: no query, no user agent, no addresses of forwarded chains.
///
/// Envoy's default text format and lines in JSON with the members that the mesh's own format has are read; what else an operator wrote into a format may be
/// anything, and is left out.
public struct AccessLogLine: Sendable, Hashable {
    /// When the request began, as the line says it.
    public var time = ""
    /// `GET`.
    public var method = ""
    /// The path without its query.
    public var path = ""
    /// `HTTP/1.1`.
    public var version = ""
    /// The status; 0 when there was none.
    public var status = 0
    /// Response flags; empty without any.
    public var flags = ""
    /// How long it took, in milliseconds; nil when the line does not say.
    public var milliseconds: Double?
    /// The host that was asked for.
    public var authority = ""
    /// The address that it went to; empty when it went nowhere.
    public var upstream = ""
    /// `x-request-id`.
    public var requestID = ""

    /// Texts are cut at so many characters.
    private static let textMax = 1_024

    /// Reads a line; nil when it is in another format.
    public init?(_ line: some StringProtocol) {
        let text = line.drop { $0 == " " }
        if text.first == "{" {
            guard readJSON(String(text)) else { return nil }
        } else {
            guard readText(String(text)) else { return nil }
        }
        path = String(path.prefix { $0 != "?" && $0 != "#" }.prefix(Self.textMax))
        authority = String(authority.prefix(Self.textMax))
        guard !method.isEmpty else { return nil }
    }

    private mutating func readJSON(_ line: String) -> Bool {
        guard let json = try? JSON.parse(Array(line.utf8)), json.object != nil else { return false }
        func text(_ name: String) -> String {
            let value = json[name]?.string ?? ""
            return value == "-" ? "" : value
        }
        time = text("start_time")
        method = text("method")
        path = text("path")
        version = text("protocol")
        status = json["response_code"]?.int ?? Int(text("response_code")) ?? 0
        flags = text("response_flags")
        milliseconds = json["duration"]?.double ?? Double(text("duration"))
        authority = text("authority")
        upstream = text("upstream_host")
        requestID = text("request_id").isEmpty ? text("x_request_id") : text("request_id")
        return !method.isEmpty && json["response_code"] != nil
    }

    /// `[TIME] "METHOD PATH VERSION" STATUS FLAGS RECEIVED SENT DURATION UPSTREAM-TIME "…" "…" "ID" "AUTHORITY" "HOST"`.
    private mutating func readText(_ line: String) -> Bool {
        guard line.first == "[", let close = line.firstIndex(of: "]") else { return false }
        time = String(line[line.index(after: line.startIndex)..<close])
        let parts = Self.quoted(line[line.index(after: close)...])
        guard parts.count >= 2 else { return false }
        let request = parts[1].split(separator: " ", omittingEmptySubsequences: false).map(String.init)
        guard request.count >= 3, let last = request.last, last.hasPrefix("HTTP/") else { return false }
        method = request[0]
        path = request[1..<(request.count - 1)].joined(separator: " ")
        version = last
        let figures = (parts.count > 2 ? parts[2] : "").split(separator: " ").map(String.init)
        guard figures.count >= 2, let code = Int(figures[0]) else { return false }
        status = code
        flags = figures[1] == "-" ? "" : figures[1]
        if figures.count >= 5 { milliseconds = Double(figures[4]) }
        // Behind the figures: forwarded-for, agent, id, authority, host; each in quotation marks with a blank between.
        func field(_ number: Int) -> String {
            let index = 3 + 2 * number
            let value = parts.indices.contains(index) ? parts[index] : ""
            return value == "-" ? "" : value
        }
        requestID = field(2)
        authority = field(3)
        upstream = field(4)
        return true
    }

    /// What stands outside and inside of quotation marks, in turns; a backslash keeps the next character.
    private static func quoted(_ text: some StringProtocol) -> [String] {
        var parts = [""]
        var isEscaped = false
        for character in text {
            if isEscaped {
                parts[parts.count - 1].append(character)
                isEscaped = false
            } else if character == "\\" {
                isEscaped = true
            } else if character == "\"" {
                parts.append("")
            } else {
                parts[parts.count - 1].append(character)
            }
        }
        return parts
    }

    /// For programs.
    public var json: JSON {
        [
            "time": .string(time), "method": .string(method), "path": .string(path), "protocol": .string(version),
            "status": .integer(Int64(status)), "flags": .string(flags),
            "durationMilliseconds": milliseconds.map { .number($0) } ?? .null, "authority": .string(authority),
            "upstream": .string(upstream), "requestId": .string(requestID),
        ]
    }
}
