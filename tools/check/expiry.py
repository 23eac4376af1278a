"""What `skein explain` says when certificates have expired: the bookstore with certificates of 30 s, and an agent that is stopped."""
from check import explain


def phases(_before):
    return (explain.expired,)
