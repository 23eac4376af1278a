internal import IO
import Telemetry

extension Command {
    static let version = Command("version", "", "Print the version") { _ throws(CommandError) in
        Console.out("skein \(Product.version)\n")
        return 0
    }

    static let kubeconfig = Command(
        "kubeconfig", "[FILE]", "Write the kubeconfig for kubectl, to a file (mode 0600) or standard output",
        details: "The file holds a client certificate and its key: whoever has it may do everything in this Skein.",
        flags: [.dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        let source = invocation.dataDirectory + "/control/kubeconfig"
        do throws(SystemError) {
            let content = try File.read(source)
            guard let file = invocation.operands.first else {
                Console.out(String(decoding: content, as: UTF8.self))
                return 0
            }
            try File.write(file, content, mode: 0o600)
            return 0
        } catch {
            guard error.errno == 2 else { throw CommandError(error) }
            throw CommandError(
                "\(source) is not there: skein up writes it; with another data directory say --data-dir DIR")
        }
    }

    static let completion = Command("completion", "bash|zsh", "Print the shell's completion script") {
        invocation throws(CommandError) in
        switch invocation.operands.first {
        case "bash": Console.out(Completion.bash)
        case "zsh": Console.out("autoload -U +X bashcompinit && bashcompinit\n" + Completion.bash)
        default: throw CommandError.usage("completion", "bash or zsh")
        }
        return 0
    }
}

/// Completion of commands, flags and kinds.
enum Completion {
    static var bash: String {
        let shown = CommandLineInterface.commands.filter { !$0.isHidden }
        let words = Set(shown.compactMap { $0.name.split(separator: " ").first }.map(String.init)).sorted()
        var cases = ""
        for command in shown {
            let flags = command.flags.map { "--\($0.name)" }.joined(separator: " ")
            cases += "        \"\(command.name)\") flags=\"\(flags)\" ;;\n"
        }
        return """
            _skein() {
                local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} flags=
                if [ "$COMP_CWORD" = 1 ]; then
                    COMPREPLY=($(compgen -W "\(words.joined(separator: " "))" -- "$current"))
                    return
                fi
                case "$previous" in
                    --failure-threshold|--output-threshold) COMPREPLY=($(compgen -W "info warning error" -- "$current")); return ;;
                    -f|--filename|--data-dir|--run-dir|--kubeconfig) COMPREPLY=($(compgen -f -- "$current")); return ;;
                    -o|--output) case "${COMP_WORDS[1]}" in explain|diff) COMPREPLY=($(compgen -W "text json" -- "$current")); return ;; stat|top|edges|query|alerts|plan|services|traces|tap) COMPREPLY=($(compgen -W "table json" -- "$current")); return ;;
                        graph) COMPREPLY=($(compgen -W "dot mermaid json" -- "$current")); return ;; esac
                        COMPREPLY=($(compgen -W "table wide json yaml name text" -- "$current")); return ;;
                    --runtime) COMPREPLY=($(compgen -W "runc docker" -- "$current")); return ;;
                    --images) COMPREPLY=($(compgen -W "host store" -- "$current")); return ;;
                esac
                local name=${COMP_WORDS[1]}
                [ "$name" = image ] && name="image ${COMP_WORDS[2]}"
                [ "$name" = certs ] && name="certs ${COMP_WORDS[2]}"
                [ "$name" = network ] && name="network ${COMP_WORDS[2]}"
                case "$name" in
            \(cases)    esac
                case "$current" in
                    -*) COMPREPLY=($(compgen -W "$flags --help" -- "$current")) ;;
                    *) case "$name" in
                        image*) COMPREPLY=($(compgen -W "import list" -- "$current")) ;;
                        certs*) COMPREPLY=($(compgen -W "list expiry verify rotate recover write" -- "$current")) ;;
                        network*) COMPREPLY=($(compgen -W "create ls inspect connect disconnect rm" -- "$current")) ;;
                        top) COMPREPLY=($(compgen -W "services edges pods" -- "$current")) ;;
                        explain) COMPREPLY=($(compgen -W "gateway deployment/ serviceaccount/ service/" -- "$current")) ;;
                        get|describe|delete) COMPREPLY=($(compgen -W "pods services deployments replicasets configmaps secrets \
            namespaces nodes events endpointslices ingresses virtualservices destinationrules gateways" -- "$current")) ;;
                    esac ;;
                esac
            }
            complete -o default -F _skein skein

            """
    }
}
