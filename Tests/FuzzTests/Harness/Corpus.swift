import IO

/// The seeds of a target: one in a line of `Corpus/NAME.txt`, with `\r`, `\n`, `\t`, `\\` and `\xNN` for what a line cannot hold.
///
/// Lines that begin with `#` are comments.
enum Corpus {
    static func seeds(_ name: String, file: String = #filePath) throws -> [[UInt8]] {
        let folder = file.split(separator: "/").dropLast().joined(separator: "/")
        var seeds: [[UInt8]] = []
        for line in try File.text("/\(folder)/Corpus/\(name).txt").split(separator: "\n") where !line.hasPrefix("#") {
            seeds.append(unescaped(line))
        }
        return seeds
    }

    static func unescaped(_ line: Substring) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = Array(line.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "\\"), let kind = rest.popFirst() else {
                bytes.append(byte)
                continue
            }
            switch kind {
            case UInt8(ascii: "r"): bytes.append(13)
            case UInt8(ascii: "n"): bytes.append(10)
            case UInt8(ascii: "t"): bytes.append(9)
            case UInt8(ascii: "x"):
                bytes.append(UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) ?? 0)
                rest = rest.dropFirst(2)
            default: bytes.append(kind)
            }
        }
        return bytes
    }

    /// A seed as it stands in a file.
    static func escaped(_ bytes: [UInt8]) -> String {
        bytes.map { byte in
            switch byte {
            case 10: return "\\n"
            case 13: return "\\r"
            case 9: return "\\t"
            case UInt8(ascii: "\\"): return "\\\\"
            case 0x20..<0x7F: return String(UnicodeScalar(byte))
            default: return "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
            }
        }.joined()
    }
}
