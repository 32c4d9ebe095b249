unit_test(NAME contract SOURCES contract_test.c LIBS contract)
unit_test(NAME contract_json SOURCES contract_json_test.c json_oracle.c LIBS contract PkgConfig::JANSSON)
unit_test(NAME contract_yaml SOURCES contract_yaml_test.c LIBS contract)
