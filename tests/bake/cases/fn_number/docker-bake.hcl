target "default" {
  args = {
    a = "${absolute(-3)} ${add(1, 2)} ${subtract(1, 2)} ${multiply(2, 3)} ${divide(7, 2)} ${modulo(7, 3)} ${negate(4)}"
    b = "${ceil(1.2)} ${floor(1.8)} ${int(-1.7)} ${signum(-3)} ${pow(2, 10)} ${log(16, 2)}"
    c = "${min(3, 1, 2)} ${max(3, 1, 2)} ${parseint("ff", 16)} ${parseint("-101", 2)}"
    d = "${greaterthan(2, 1)} ${greaterthanorequalto(1, 1)} ${lessthan(2, 1)} ${lessthanorequalto(1, 1)} ${equal("a", "a")} ${notequal(1, 2)}"
    e = "${and(true, false)} ${or(true, false)} ${not(true)}"
    f = "${1000000000000} ${1.5e10} ${123456789012345678} ${2.50}"
  }
}
