import IO
import Serialization

/// What opens administrators' pages on the dashboard: a random text in the data directory, for root alone, made at the first start.
///
/// `skein dashboard` hands it out behind the `#` of the address, which browsers keep to themselves.
struct DashboardToken {
    /// Where it is, below the data directory.
    static let file = "dashboard.token"
    /// Its bytes before they are written in hexadecimal digits.
    private static let length = 32

    private let bytes: [UInt8]

    init(_ text: String) { bytes = Array(text.utf8) }

    /// Reads the token of a directory, or makes it.
    init(directory: String) throws(ControlPlaneError) {
        let path = directory + "/" + Self.file
        let text: String
        do throws(SystemError) {
            if File.exists(path) {
                text = try File.text(path).filter { !$0.isWhitespace }
            } else {
                let digits = Array("0123456789abcdef".utf8)
                let random = Environment.randomBytes(Self.length)
                let bytes = random.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
                text = String(decoding: bytes, as: UTF8.self)
                try File.makeDirectory(directory, mode: 0o700)
                try File.write(path, bytes + [0x0A], mode: 0o600)
            }
        } catch {
            throw ControlPlaneError("the dashboard's token: \(error)")
        }
        guard text.utf8.count >= Self.length * 2 else {
            throw ControlPlaneError("\(path) holds no token; remove it to have a new one made")
        }
        self.init(text)
    }

    /// Whether a field `Authorization` names it; takes as long for every text of its length.
    func isRight(_ field: String) -> Bool {
        guard field.count > 7, field.prefix(7).lowercased() == "bearer " else { return false }
        let given = Array(field.dropFirst(7).utf8)
        guard given.count == bytes.count, !bytes.isEmpty else { return false }
        var difference: UInt8 = 0
        for (left, right) in zip(given, bytes) { difference |= left ^ right }
        return difference == 0
    }
}
