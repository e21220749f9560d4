target "default" {
  args = {
    a = formatdate("YYYY-MM-DD'T'hh:mm:ssZ", "2024-02-03T04:05:06Z")
    b = formatdate("EEEE, DD-MMM-YY HH:mm:ss AA ZZZ", "2024-02-03T16:05:06+02:00")
    c = "x"
    d = "y"
    e = timeadd("2024-02-28T23:00:00Z", "26h30m")
    g = strlen(timestamp())
    h = formatdate("D M MMMM h H aa ZZZZ ZZZZZ", "2024-02-03T00:05:06-03:30")
  }
}
