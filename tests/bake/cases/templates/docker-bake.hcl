variable "N" { default = ["a", "b", "c"] }
variable "M" { default = { x = 1, y = 2 } }
target "default" {
  args = {
    for1 = join(",", [for i, n in N : "${i}=${n}" if n != "b"])
    for2 = jsonencode({ for k, v in M : upper(k) => v + 1 })
    group = jsonencode({ for n in N : (n == "a" ? "first" : "rest") => n... })
    splat = join(",", [{ n = "p" }, { n = "q" }][*].n)
    attr = join(",", [{ n = "p" }, { n = "q" }].*.n)
    dir = "%{ for n in N ~}\n  <${n}>\n%{ endfor ~}end"
    iff = "%{ if length(N) > 2 }many%{ else }few%{ endif }"
    esc = "tab\there \"q\" \u00e9 $${no} %%{no}"
    cond = N[0] == "a" && !(1 > 2) || false ? "t" : "f"
    math = "${(1 + 2) * 3 - 4 / 2 % 3} ${-5 + 2} ${10 / 4} ${0.1 + 0.2} ${1e3}"
    cmp = "${1 <= 2} ${"a" == "b"} ${1 != 1}"
    idx = "${N[1]} ${M["x"]} ${M.y} ${N.2}"
    strip = "  ${~ " x " ~}  y"
  }
  dockerfile-inline = <<EOT
FROM scratch
  RUN ${N[0]} "quoted" \n raw
EOT
  labels = {
    flush = <<-END
      one
        two ${N[1]}

      three
    END
  }
}
