/// The rules that are watched without being asked.
public enum DefaultRules {
    /// The same text as `contrib/prometheus/skein-rules.yaml`; a test compares them.
    public static let text = #"""
        # What the control plane of Skein watches by itself; a Prometheus that has these series takes the same file.
        groups:
          - name: skein-services
            rules:
              - alert: ErrorBudgetBurnsFast
                expr: |
                  sum by (destination_service) (rate(istio_requests_total{reporter="source",response_code=~"5.."}[1h]))
                    / sum by (destination_service) (rate(istio_requests_total{reporter="source"}[1h])) > 14.4 * 0.001
                  and
                  sum by (destination_service) (rate(istio_requests_total{reporter="source",response_code=~"5.."}[5m]))
                    / sum by (destination_service) (rate(istio_requests_total{reporter="source"}[5m])) > 14.4 * 0.001
                for: 1m
                labels:
                  severity: critical
                annotations:
                  summary: "{{ $labels.destination_service }}: {{ $value | humanizePercentage }} of the requests of the last hour failed"
                  action: "skein edges shows whose requests fail; skein explain FROM TO tells where they go, skein logs what the service says."
              - alert: ErrorBudgetBurnsSlowly
                expr: |
                  sum by (destination_service) (rate(istio_requests_total{reporter="source",response_code=~"5.."}[6h]))
                    / sum by (destination_service) (rate(istio_requests_total{reporter="source"}[6h])) > 6 * 0.001
                  and
                  sum by (destination_service) (rate(istio_requests_total{reporter="source",response_code=~"5.."}[30m]))
                    / sum by (destination_service) (rate(istio_requests_total{reporter="source"}[30m])) > 6 * 0.001
                for: 5m
                labels:
                  severity: warning
                annotations:
                  summary: "{{ $labels.destination_service }}: {{ $value | humanizePercentage }} of the requests of six hours failed"
                  action: "skein edges shows whose requests fail; skein explain FROM TO tells where they go, skein logs what the service says."
              - alert: LatencyIsHigh
                expr: |
                  histogram_quantile(0.99, sum by (le, destination_service) (rate(istio_request_duration_milliseconds_bucket{reporter="source"}[5m]))) > 1000
                for: 5m
                labels:
                  severity: warning
                annotations:
                  summary: "{{ $labels.destination_service }}: 1 % of the requests take longer than {{ $value | humanize }} ms"
                  action: "skein stat shows the median beside it; skein top pods shows who is short of processor or memory."
              - alert: NoHealthyUpstream
                expr: sum by (source_workload, destination_service) (increase(skein_edge_failures_total{response_flags="UH"}[2m])) > 0
                labels:
                  severity: critical
                annotations:
                  summary: "{{ $labels.source_workload }} finds no healthy endpoint of {{ $labels.destination_service }}"
                  action: "skein get pods shows whether they are ready; skein proxy-config endpoints POD what the proxy knows."
              - alert: EndpointsEjected
                expr: max by (source_workload, destination_service) (skein_edge_endpoints_ejected) > 0
                for: 1m
                labels:
                  severity: warning
                annotations:
                  summary: "{{ $labels.source_workload }} keeps {{ $value | humanize }} endpoints of {{ $labels.destination_service }} out"
                  action: "They answered with errors: skein logs of the pods; outlierDetection of the DestinationRule says when they come back."
              - alert: CircuitBreakerIsOpen
                expr: sum by (source_workload, destination_service) (increase(skein_edge_failures_total{response_flags="UO"}[2m])) > 0
                labels:
                  severity: warning
                annotations:
                  summary: "{{ $labels.source_workload }} turned requests to {{ $labels.destination_service }} away: {{ $value | humanize }} in two minutes"
                  action: "More replicas of the service, or higher limits in connectionPool of its DestinationRule."
          - name: skein-control-plane
            rules:
              - alert: ConfigurationRefused
                expr: max(skein_control_proxies_refusing) > 0
                for: 1m
                labels:
                  severity: critical
                annotations:
                  summary: "{{ $value | humanize }} proxies refuse a part of their configuration"
                  action: "skein proxy-status names the proxies, what they refuse and the objects that made it."
              - alert: ProxiesNotConverged
                expr: max(skein_control_proxies_unsettled) > 0
                for: 5m
                labels:
                  severity: warning
                annotations:
                  summary: "{{ $value | humanize }} proxies have not acknowledged everything for five minutes"
                  action: "skein proxy-status shows STALE beside their names; the pod may hang or be short of processor."
              - alert: ProxyIsSilent
                expr: up{job="proxies"} == 0
                for: 1m
                labels:
                  severity: warning
                annotations:
                  summary: "the proxy of pod {{ $labels.namespace }}/{{ $labels.pod }} does not tell its metrics"
                  action: "skein get pods, skein logs {{ $labels.pod }} -c skein-proxy; a NetworkPolicy must not keep the node from port 15020."
              - alert: CertificateIsNotRenewed
                expr: skein_certificate_left_percent < 20 or envoy_server_first_cert_left_percent < 20
                for: 1m
                labels:
                  severity: critical
                annotations:
                  summary: "a certificate of pod {{ $labels.namespace }}/{{ $labels.pod }} has {{ $value | humanize }} % of its life left"
                  action: "Certificates are renewed at half of their life: skein certs shows them, skein logs of the node agent why they are not."
              - alert: NamesAreNotFound
                expr: sum(increase(skein_dns_failures_total[2m])) / sum(increase(skein_dns_queries_total[2m])) > 0.05
                for: 1m
                labels:
                  severity: warning
                annotations:
                  summary: "{{ $value | humanizePercentage }} of the queries for names got no answer (SERVFAIL)"
                  action: "Names outside of the cluster are asked of the servers in /etc/resolv.conf of the host: do these answer?"
          - name: skein-node
            rules:
              - alert: PodRestartsAgainAndAgain
                expr: increase(skein_pod_restarts_total[10m]) > 2
                labels:
                  severity: warning
                annotations:
                  summary: "containers of pod {{ $labels.namespace }}/{{ $labels.pod }} were started anew {{ $value | humanize }} times in ten minutes"
                  action: "skein logs --previous and skein describe pod {{ $labels.pod }} tell why."
              - alert: NodeIsShortOfMemory
                expr: skein_node_memory_available_bytes / skein_node_memory_bytes < 0.05
                for: 5m
                labels:
                  severity: critical
                annotations:
                  summary: "node {{ $labels.node }} has {{ $value | humanizePercentage }} of its memory left"
                  action: "skein top pods --sort memory shows who has it."
              - alert: NodeIsShortOfProcessor
                expr: 1 - sum by (node) (rate(skein_node_cpu_seconds_total{mode="idle"}[5m])) / sum by (node) (rate(skein_node_cpu_seconds_total[5m])) > 0.95
                for: 15m
                labels:
                  severity: warning
                annotations:
                  summary: "the processors of node {{ $labels.node }} are busy to {{ $value | humanizePercentage }}"
                  action: "skein top pods shows who uses them."
              - alert: AddressesRunOut
                expr: skein_node_addresses_used / skein_node_addresses > 0.9
                for: 1m
                labels:
                  severity: warning
                annotations:
                  summary: "{{ $value | humanizePercentage }} of the addresses for pods of node {{ $labels.node }} are in use"
                  action: "Pods that come now wait for addresses: remove some, or begin with a larger pool (skein up --pool)."
              - alert: ClockIsWrong
                expr: abs(skein_clock_skew_seconds) > 2
                for: 1m
                labels:
                  severity: warning
                annotations:
                  summary: "the clock of node {{ $labels.node }} differs by {{ $value | humanizeDuration }} from the control plane's"
                  action: "Certificates and tokens are refused when clocks differ: let chrony or systemd-timesyncd set them."

        """#
}
