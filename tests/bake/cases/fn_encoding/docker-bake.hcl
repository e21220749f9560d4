target "default" {
  args = {
    a = base64encode("hello")
    b = base64decode("aGVsbG8=")
    c = md5("x")
    d = sha1("x")
    e = sha256("x")
    f = sha512("x")
    g = jsonencode({ s = "a<b>&", n = 1.5, l = [true, null], o = {} })
    h = jsondecode("{\"a\": [1, {\"b\": \"c\"}]}").a[1].b
    i = jsonencode(csvdecode("a,b\n1,2\n3,\"x,y\"\n"))
    j = urlencode("a b&c/d?é~")
    k = uuidv5("dns", "example.com")
    l = uuidv5("6ba7b811-9dad-11d1-80b4-00c04fd430c8", "x")
    m = strlen(uuidv4())
    n = substr(bcrypt("x", 4), 0, 7)
  }
}
