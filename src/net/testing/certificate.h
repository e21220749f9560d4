// A certificate authority, a certificate of it for 127.0.0.1 and one for a client, made for one test.
#pragma once

#include <string>

namespace varve::net::testing {

struct TestCertificates {
  std::string ca_file, certificate_file, key_file;  // PEM, in the directory given
  std::string client_certificate_file, client_key_file;
};

TestCertificates MakeCertificates(const std::string& directory);

}  // namespace varve::net::testing
