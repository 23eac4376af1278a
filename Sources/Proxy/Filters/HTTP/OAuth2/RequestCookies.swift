internal import HTTP
internal import Upstream

/// The cookies of a request, in their order; of several with one name the first counts.
struct RequestCookies {
    private(set) var entries: [(name: String, value: String)] = []

    init() {}

    init(_ headers: HeaderTable) {
        var start = 0
        while let index = headers.index(of: .cookie, from: start) {
            start = index + 1
            let line = String(decoding: [UInt8](copying: headers.value(at: index)), as: UTF8.self)
            for part in line.split(separator: ";") {
                let trimmed = part.drop { $0 == " " || $0 == "\t" }
                guard let equals = trimmed.firstIndex(of: "=") else { continue }
                let name = String(trimmed[..<equals])
                guard !entries.contains(where: { $0.name == name }) else { continue }
                var value = trimmed[trimmed.index(after: equals)...]
                while value.last == " " { value.removeLast() }
                if value.count >= 2, value.first == "\"", value.last == "\"" { value = value.dropFirst().dropLast() }
                entries.append((name, String(value)))
            }
        }
    }

    subscript(_ name: String) -> String? {
        get { entries.first { $0.name == name }?.value }
        set {
            guard let newValue else { return entries.removeAll { $0.name == name } }
            if let index = entries.firstIndex(where: { $0.name == name }) {
                entries[index].value = newValue
            } else {
                entries.append((name, newValue))
            }
        }
    }

    mutating func removeAll(_ isUnwanted: (String) -> Bool) { entries.removeAll { isUnwanted($0.name) } }

    /// Puts them in place of what a request has.
    func write(to headers: inout HeaderTable) {
        guard headers.contains(.cookie) || !entries.isEmpty else { return }
        headers.remove(named: "cookie")
        try? headers.append("cookie", entries.map { "\($0.name)=\($0.value)" }.joined(separator: "; "))
    }
}
