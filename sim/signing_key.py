"""The key with which every simulated installation signs its tokens.

Fixed, for making one takes some 100 ms and its length is a matter of chance, on which the layout of a simulated disk would
depend. It protects nothing: nobody outside a simulation accepts it.
"""

from functools import cache

from mesh.identity.tokens import SigningKey

_PEM = """\
-----BEGIN PRIVATE KEY-----
MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSiAgEAAoIBAQCbrlQlD09108R1
DruU8kZAm/JY1pu45LzFWM6laLr0EmIfxtJKnedUIQb/uBDNuSQCtd3JPhSAv5iT
F2vGiIKTr5LGpBOpYPOuUoiOWRlu/RAVrRVfXQy5H1U42LINaun/lERB1glBOrpk
TKfFC/62VkHnsso5Fg65SrWk8of19F1zowMBTNTI2hw2SkDCbmMmYKnqOSrr1XnH
Sib3HOJ6MEXDrIafUQTi905nAqZZ442sESF0Usat1SjKyhg7SioVvSkbCOKg+1Wa
Y+Y23YwBOUSdWE+tnzqFh16UQSOU7a3lvZNPY9qIrCh4RtQopRtHP/BGwe5Jloun
lZFrUvAPAgMBAAECggEAAiBjeqe24iXxk3FcE2P4nOSEbvCfhLfUv3omRUQk9miG
rQBxc7hGDKdW1rwtuC54CEFyG7ZpX68+TX2oaNHWI5MZlVtwZh1/UDl4YnL9Hr/K
+tprMrfgQ9CvWiA7oZgWq8ZB5Tq5oNZ4husB76mDFS9TpYj5RV/zwe9ig818TFon
GVjvkg+imzo2U5KnJTuCN1lnWnFHUsJZLKkEYpoV1MJIEw8aAR1NP79t2XQA6v/e
e63EFwYxV+FNBih2kaY1lJgqqxSOirWRXScoXil94dD2UqQSk4Yk0QfNE2ZEcc76
vQlnbna3AWzf15xEo6UJjchx6ESULH6kmSzEyO8KoQKBgQDTZYMKJe41848nvglY
IX+9w7m3XwpOxWN/0HsUohwI4Ig9WMe9xramACsgXh6Pg1fxuheDKjWXuFDKD7w3
HIMeWr287G9EB+wXZ2a296znBcjUFMAIrXRBJBy0//FaStFzMIG436OPpzTxhGfo
/zkWdfdq6PAgpgYWO2yYVI9IawKBgQC8h121MogRFrei+QDCr0W9DA4J7DtlLQ8q
D84WGfWEI84ABuzx9sVkE4/IqeBv41xJQfmvOMK2QlDdoIxpyBPn7Q67jcN6qUVx
H9n5yyBjhX4gWMgzcPolxTcLCaH2G5rQjShF/7k84qTWCrd/bvKnW1mJ94g9bpkR
f+bBAnPv7QKBgHTSX1UnWvnzrAPhcBaFBKvg0uv0GKUpTfAfTTU81NNPCdslCdTl
UKBx7WNIwAi9I8eQ+Fdi5xT+JZ9UjMXD+u22Za5W1rI40o6odMneG23b83zILstc
16b8BuU7n6wvNoo6nyWEaUYEuCxT6HyJNookDOPG8JSKS0jT9BJGgJwbAoGAd+xD
l3dFRlmFBo4OBckoO1DnvTgfsAQxmTfkh/qLSjrcVvgQ0PmAJmCrHaGxunqNwavN
/7/DW9xjRBdUOhWjU+xfar6KkgQKwCLarSKgv62yxTC0aMR82nnQwZynAb4dhHvG
GoDIfApPgDfg8ZbJk9tv4Wsrpqgrhg4t4qiExyECgYBvzEsj8f8YXGP9CYn/shTx
U4KTFkSDQ2dX+IqzxSlqZhterbJimN0ukSjeiNwntcVvU86uLYO9o2fMkVUv97P+
OKC1XsWjnXqwkQ3c4wOfOXG5L2CrH2oYx6ge7032s4dHJve3yxYRP48nZVz24Olh
SrEMghr4tchmmxH9oH+GHg==
-----END PRIVATE KEY-----
"""


@cache
def _key() -> SigningKey:
    return SigningKey.decode(1, _PEM, checked=True)


def simulated_signing_key(serial: int) -> SigningKey:
    """Return the key, as the one of this serial."""
    return SigningKey(serial, _key().key)


async def make_simulated_signing_key(serial: int) -> SigningKey:
    """Return the same, where control planes make their keys."""
    return simulated_signing_key(serial)
