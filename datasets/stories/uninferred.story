# Two that hand the fault on to each other, and nobody knows: beside `inferred`, which is the same but for one line, this
# is what not knowing costs.
tree
  site
    shop             4s     30/s
      shop.cart      400ms  10/s
    bank             8s     20/s
      bank.pay       400ms  10/s
at 10s shop.cart fails 80% until shop.cart and bank.pay are restarted
at 5m end
