target "default" {
  args = {
    a1 = upper("aé")
    a2 = lower("ABÉ")
    a3 = title("hello big world")
    a4 = strlen("noël👨‍👩‍👧")
    a5 = reverse("abc")
    a6 = substr("hello", 1, 3)
    a7 = substr("hello", -3, -1)
    a8 = trim("?!x?!", "!?")
    a9 = "${trimprefix("helloworld", "hello")}|${trimsuffix("helloworld", "world")}|${trimspace("  x\n")}"
    b1 = chomp("x\n\n")
    b2 = replace("a-b-c", "-", "+")
    b3 = regex_replace("a1b22", "([0-9]+)", "<$1>")
    b4 = regex("[a-z]+", "12abc34")
    b5 = jsonencode(regex("(?P<y>[0-9]+)-(?P<m>[0-9]+)", "2024-05"))
    b6 = jsonencode(regexall("[a-z]", "1a2b"))
    b7 = jsonencode(split(",", "a,b,,c"))
    b8 = join("-", ["a", "b"], ["c"])
    b9 = indent(2, "a\nb")
    c1 = format("%s %d %05.2f %q %v %t %x %%", "s", 12, 3.14159, "q\"", [1, "a"], true, 255)
    c2 = jsonencode(formatlist("%s-%s", ["a", "b"], "z"))
    c3 = basename("/a/b/c.txt")
    c4 = dirname("/a/b/c.txt")
    c5 = sanitize("a/b.c:d_e-f é")
    c6 = format("%-5s|%5s|%+d|%3d|%b|%o|%e|%g", "ab", "cd", 3, 4, 5, 8, 1234.5, 0.1)
    c7 = homedir()
  }
}
