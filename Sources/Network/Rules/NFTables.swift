internal import CNFTables
internal import Glibc
internal import IO
internal import Synchronization

/// Sends rules to the kernel as text, one transaction per call: all of it or nothing.
enum NFTables {
    /// libnftables keeps a list of devices for the whole process, unlocked: one call at a time.
    private static let turn = Mutex(())

    /// Runs a transaction in the namespace of the calling thread.
    static func run(_ text: String) throws(NetworkError) { _ = try output(of: text) }

    /// Runs commands in the namespace of the calling thread and returns what they print.
    static func output(of text: String, flags: UInt32 = 0) throws(NetworkError) -> String {
        let outcome: Result<String, NetworkError>
        do throws(SystemError) {
            // libnftables waits with select(2): its socket must be a low descriptor, however many we have open.
            outcome = try NetworkNamespace.withoutDescriptors { () throws(SystemError) in result(of: text, flags: flags)
            }
        } catch {
            throw .rules("\(error)")
        }
        return try outcome.get()
    }

    private static func result(of text: String, flags: UInt32) -> Result<String, NetworkError> {
        turn.withLock { _ -> Result<String, NetworkError> in
            guard let context = nft_ctx_new(0) else { return .failure(.rules("no context")) }
            defer { nft_ctx_free(context) }
            guard nft_ctx_buffer_output(context) == 0, nft_ctx_buffer_error(context) == 0 else {
                return .failure(.rules("no buffer"))
            }
            nft_ctx_output_set_flags(context, nft_ctx_output_get_flags(context) | flags)
            guard nft_run_cmd_from_buffer(context, text) == 0 else { return .failure(.rules(message(context))) }
            return .success(nft_ctx_get_output_buffer(context).map { String(cString: $0) } ?? "")
        }
    }

    /// The tables of the namespace of the calling thread, as (family, name).
    static func tables() throws(NetworkError) -> [(family: String, name: String)] {
        let output = try output(of: "list tables")
        return output.split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            guard words.count == 3, words.first == "table" else { return nil }
            return (String(words[1]), String(words[2]))
        }
    }

    /// A base chain, as far as it matters to us.
    struct Chain {
        var table: String
        var name: String
        var hook: String
        var dropsByDefault: Bool
    }

    /// The base chains of the namespace of the calling thread.
    static func chains() throws(NetworkError) -> [Chain] {
        let output = try output(of: "list chains")
        var (table, name) = ("", "")
        var result: [Chain] = []
        for line in output.split(separator: "\n") {
            // table inet x {   chain y {   type filter hook forward priority filter; policy drop;
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" || $0 == ";" }).map(String.init)
            switch words.first {
            case "table" where words.count > 2: table = words[2]
            case "chain" where words.count > 1: name = words[1]
            case "type":
                guard let hook = words.firstIndex(of: "hook"), hook + 1 < words.count else { continue }
                let drops = words.suffix(2) == ["policy", "drop"]
                result.append(Chain(table: table, name: name, hook: words[hook + 1], dropsByDefault: drops))
            default: break
            }
        }
        return result
    }

    /// The names of the chains, sets and maps in a table of family inet.
    static func contents(of table: String) throws(NetworkError) -> [String] {
        let output = try output(of: "list table inet \(table)", flags: cnftables_output_terse)
        return output.split(separator: "\n").compactMap { line in
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).map(String.init)
            guard words.count == 3, words[2] == "{", ["chain", "set", "map"].contains(words[0]) else { return nil }
            return words[1]
        }
    }

    /// The plain elements of a set in a table of family inet.
    static func elements(of set: String, in table: String) throws(NetworkError) -> [String] {
        let output = try output(of: "list set inet \(table) \(set)")
        // elements = { 10.0.0.1, 10.0.0.2,\n 10.0.0.3 }
        return output.split(separator: "elements = {").dropFirst().flatMap { text in
            text.prefix { $0 != "}" }.split { $0 == "," || $0 == " " || $0 == "\n" || $0 == "\t" }.map(String.init)
        }
    }

    /// The first complaint on one line; the lines after it point into the text.
    private static func message(_ context: OpaquePointer) -> String {
        let text = nft_ctx_get_error_buffer(context).map { String(cString: $0) } ?? ""
        let lines = text.split(separator: "\n").prefix(2).map(String.init)
        return lines.isEmpty ? "refused without a word" : lines.joined(separator: " in ")
    }

    /// Makes text fit for a comment: the language has no escapes, and a comment holds 128 bytes.
    static func comment(_ text: String) -> String {
        let safe = text.unicodeScalars.map { scalar -> Character in
            switch scalar {
            case "a"..."z", "A"..."Z", "0"..."9", " ", "/", ".", ",", ":", "-", "_", "[", "]", "(", ")", "=", "+", "*":
                Character(scalar)
            default: "?"
            }
        }
        return "\"\(String(safe.prefix(120)))\""
    }

    /// `{ a, b }`.
    static func set(_ elements: some Sequence<some CustomStringConvertible>) -> String {
        "{ " + elements.map(\.description).joined(separator: ", ") + " }"
    }
}

/// FNV-1a, 64 bits: names that must be short and the same in every run.
func fnv1a(_ text: String) -> UInt64 {
    text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
}

/// A number as 16 hexadecimal digits.
func hex(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
}
