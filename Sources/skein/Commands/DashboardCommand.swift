internal import IO

extension Command {
    private static let address = Flag(
        "address", value: "ADDR:PORT", "where skein up --metrics listens (default 127.0.0.1:9400)")
    private static let plain = Flag("without-token", "only what everybody on this machine may see")

    static let dashboard = Command(
        "dashboard", "", "Print the address of the dashboard",
        details: """
            The dashboard is served by skein up itself. The part of the address behind # is a token that shows what is for administrators; browsers
            keep it to themselves, and the page keeps it in memory only. Whoever has the token may read what skein get and proxy-config show, but no
            secrets, and may change nothing. It stands in DATA/control/dashboard.token; remove the file and start Skein anew to make another one.
            """,
        flags: [address, plain, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        guard invocation.operands.isEmpty else { throw CommandError.usage("dashboard", "takes no operands") }
        let text = invocation.value(address) ?? "127.0.0.1:9400"
        guard case .ip? = SocketAddress(text) else {
            throw CommandError.usage("dashboard", "--address \(text): not an IP address with a port")
        }
        guard !invocation.has(plain) else {
            Console.out("http://\(text)/dashboard\n")
            return 0
        }
        let file = invocation.dataDirectory + "/control/dashboard.token"
        do throws(SystemError) {
            let token = try File.text(file).filter { !$0.isWhitespace }
            Console.out("http://\(text)/dashboard#token=\(token)\n")
            return 0
        } catch {
            guard error.errno == 2 else { throw CommandError(error) }
            throw CommandError(
                "\(file) is not there: skein up writes it; with another data directory say --data-dir DIR")
        }
    }
}
