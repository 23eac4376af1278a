import Serialization

extension JSON {
    /// The value at a path as diagnostics write it: `spec.http[0].headers.request.add[x-a]`; `nil` when there is none.
    func value(at path: String) -> JSON? {
        var value: JSON? = self
        var rest = Substring(path)
        while !rest.isEmpty {
            if rest.hasPrefix("[") {
                guard let end = rest.firstIndex(of: "]") else { return nil }
                let key = String(rest[rest.index(after: rest.startIndex)..<end])
                if let list = value?.array {
                    guard let index = Int(key), list.indices.contains(index) else { return nil }
                    value = list[index]
                } else {
                    value = value?[key]
                }
                rest = rest[rest.index(after: end)...]
            } else {
                if rest.hasPrefix(".") { rest = rest.dropFirst() }
                let name = rest.prefix { $0 != "." && $0 != "[" }
                guard !name.isEmpty else { return nil }
                value = value?[String(name)]
                rest = rest.dropFirst(name.count)
            }
        }
        return value
    }
}
