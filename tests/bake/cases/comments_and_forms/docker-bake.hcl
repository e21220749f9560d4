# hash
// slashes
/* block
   comment */
target "default" { # after
  tags = [ // here
    "a", # trailing
    "b",
  ] /* end */
  args = {
    "quoted_key" = 1, bare: 2
    (upper("e")) = 3
  }
}
