"""What heroes wish for: things to have and deeds to do, each with what comes of it.

``uses``: what the hero would do then; ``made``: how the thing looks; ``ways``: what somebody shows the hero so that
the deed succeeds; ``instead``: what comes in its place when the wish is not granted; ``ruins``: what the thing did
when it came to no good; ``fails``: what the hero did when the deed came to no good. A bar parts present and past of
a verb: ``sail|sailed to the island``. ``plural`` things take "were" and "them". ``grand`` wishes are hardly ever
granted.
"""

from __future__ import annotations

THINGS = """
thing: a boat
uses: sail|sailed to the far island; catch|caught silver fish; drift|drifted under the stars
made: painted blue and white; carved from one great log; with a patched brown sail
instead: a raft of two old logs; a tin tub that floated
ruins: sank before noon; leaked from both ends; drifted away in the night

thing: a red kite
uses: send|sent letters to the clouds; race|raced the swallows; tug|tugged at the wind
made: with a tail of bright ribbons; made of silk and split cane; as light as a petal
instead: a paper bag on a string; an armful of fallen leaves to toss
ruins: blew away over the hills; tore on the first branch; fell into the mud

thing: a warm coat
uses: walk|walked out in the snow; keep|kept out the wind; sleep|slept under the open sky
made: lined with sheep's wool; with seven brass buttons; sewn from old blankets
instead: a patched blanket; a scarf with holes in it
ruins: shrank in the first rain; itched from collar to hem; came apart at the seams

thing: a lantern
uses: walk|walked home in the dark; read|read under the blankets; find|found lost things at night
made: of green glass; with a flame that never smoked; full of golden light
instead: a jar of fireflies; a stub of candle
ruins: went out in the first wind; smoked like a chimney; cracked from top to bottom

thing: a violin
uses: play|played for the dancers; teach|taught the birds a waltz; play|played the moon to sleep
made: of dark cherry wood; with a voice like honey; strung with silver
instead: a comb and a piece of paper; a whistle cut from willow
ruins: screeched like a rusty gate; lost its strings one by one; split in the sun

thing: new boots
plural: yes
uses: tramp|tramped across the world; splash|splashed in every puddle; dance|danced at the harvest feast
made: of soft red leather; with copper buckles; that never pinched
instead: two odd shoes with some wear left in them; a pair of wooden clogs
ruins: pinched at every step; let in the water; fell to pieces on the first day

thing: a little house
uses: sit|sat by the fire; invite|invited all the neighbours; hang|hung up a crooked picture
made: with a round green door; under a roof of thatch; with a stove in the corner
instead: a dry cave with a view; a tent made from a sail
ruins: fell down in a gale; leaked like a sieve; sank into the mud

thing: a silver bell
uses: call|called everyone to supper; wake|woke the sleepyheads; ring|rang in the spring
made: as small as a thimble; with a clear sweet voice; on a blue velvet ribbon
instead: an old cowbell with a dent in it; two spoons to bang together
ruins: rang day and night without stopping; lost its tongue; turned black with rust

thing: a feather bed
uses: sleep|slept until noon; dream|dreamed in colours; bounce|bounced as high as the rafters
made: stuffed with goose down; wide enough for three; with a quilt of a hundred patches
instead: a heap of sweet hay; a hammock between two trees
ruins: burst and filled the air with feathers; was full of fleas; swayed like a ship

thing: a telescope
uses: study|studied the craters of the moon; count|counted the rings of Saturn; look|looked for ships
made: of polished brass; that folded into a pocket; with a lens like a drop of dew
instead: a hollow reed to peer through; a clear night without a cloud
ruins: showed everything upside down; clouded over for good; rolled off a cliff

thing: a map of the world
uses: plan|planned a great journey; find|found the way to Timbuktu; trace|traced every river
made: drawn in seven inks; with sea monsters in the corners; on a scroll of goatskin
instead: a sketch of the neighbourhood; an old globe with a hole in it
ruins: was wrong in every corner; melted in the rain; led straight into a swamp

thing: a garden
uses: grow|grew prize pumpkins; plant|planted a row of beans; sit|sat among the sunflowers
made: with a wall to keep out the wind; full of bees and beans; no bigger than a tablecloth
instead: a flowerpot with one brave daisy; a window box of parsley
ruins: grew nothing but nettles; was eaten by slugs; dried up by midsummer

thing: a birthday cake
uses: share|shared it with everyone; blow|blew out the candles; lick|licked the spoon
made: three layers tall; covered in cherries; with a candle on top
instead: a bun with a match stuck in it; a warm potato with salt
ruins: tasted of soap; collapsed in the middle; went to the ants

thing: a good book
uses: read|read it seven times; learn|learned every word by heart; read|read aloud by the fire
made: bound in blue cloth; with a picture on every page; thick enough to last all winter
instead: half an old newspaper; an almanac from ten years before
ruins: had lost its last page; fell into the bath; turned out to be about taxes

thing: an umbrella
uses: stroll|strolled through the thunderstorm; keep|kept two people dry; float|floated down from the roof
made: of yellow oilcloth; with a handle like a swan's neck; as wide as a cartwheel
instead: a large rhubarb leaf; a hat made of bark
ruins: turned inside out; had more holes than cloth; flew off to sea

thing: a bicycle
uses: ride|rode down the longest hill; deliver|delivered letters; race|raced the train
made: with a basket in front; painted fire red; with a bell like a bird
instead: a wheelbarrow with a squeak; a pair of roller skates
ruins: lost both its wheels; ran into a ditch; bent like a pretzel

thing: warm mittens
plural: yes
uses: build|built a snow owl; throw|threw a hundred snowballs; carry|carried hot chestnuts
made: knitted from rainbow wool; with a string between them; as soft as moss
instead: two old socks; a hot stone for each pocket
ruins: unravelled in an hour; were eaten by moths; froze as stiff as boards

thing: a magic pot
grand: yes
uses: cook|cooked porridge for the whole street; feed|fed the hungry; stir|stirred up a feast
made: of black iron; that hummed as it boiled; with a lid like a hat
instead: a pan with a good recipe; a sack of oats
ruins: boiled over and would not stop; cooked nothing but turnips; cracked in the fire

thing: a golden crown
grand: yes
uses: rule|ruled over the ants and beetles; wear|wore it to breakfast; give|gave orders to the wind
made: set with red stones; as heavy as a loaf; with a point for every star
instead: a ring of woven daisies; a paper hat with a feather
ruins: turned out to be painted tin; slipped down over both ears; was stolen within the hour

thing: a star
grand: yes
uses: light|lit up the whole house; keep|kept it in a jar by the bed; tell|told it secrets
made: still warm from the sky; no bigger than a walnut; wrapped in a cloud
instead: a glow-worm in a bottle; a stone that glittered in the moonlight
ruins: went out like a match; burned a hole in the floor; flew home before dawn

thing: wings
plural: yes
grand: yes
uses: fly|flew over the rooftops; visit|visited the clouds; chase|chased the wild geese
made: of white feathers and wax; as thin as glass; that folded like a fan
instead: a swing on a high branch; a ride on a windmill's arm
ruins: melted in the sun; carried nobody farther than the ditch; moulted all at once

thing: a chest of gold
grand: yes
uses: buy|bought a street of houses; count|counted the coins at night; pay|paid for a banquet
made: bound with iron; from the bottom of the sea; too heavy to lift
instead: a box of shiny buttons; a pocketful of chestnuts
ruins: was full of stones; turned into dry leaves; brought nothing but thieves

thing: a flying carpet
grand: yes
uses: visit|visited the moon; skim|skimmed over the treetops; have|had tea above the clouds
made: woven in red and gold; with a fringe that tickled; rolled up like a pancake
instead: a warm rug by the stove; a sledge with a cushion
ruins: flew off without a rider; was afraid of heights; dropped like a stone

thing: a palace
grand: yes
uses: dance|danced in a hall of mirrors; eat|ate from golden plates; lose|lost the way to bed
made: with a hundred windows; of pink marble; on top of a hill
instead: a tree house with a flag; a castle of sand
ruins: was cold and full of echoes; was haunted by tax collectors; sank into the ground
"""

DEEDS = """
deed: see|saw the wide world
uses: send|sent home a postcard from every town; learn|learned nine new words for bread
ways: a ship that needed one more hand; the road that never ends; how to read the signposts
instead: a pedlar's tales of faraway towns; a new path behind the house
fails: got lost at the second milestone; came home with sore feet; fell asleep in a cart going the wrong way

deed: learn|learned to swim
uses: dive|dived for smooth stones; cross|crossed the deep water
ways: how to float on a breath; how frogs kick; a shallow pool as warm as soup
instead: the fun of wading; a boat for quiet days
fails: swallowed half the water; sank like a spoon; only got wet to the knees

deed: sing|sang in the choir
uses: take|took the high part at midsummer; sing|sang the harvest home
ways: how to breathe from the belly; an old song in three parts; an empty place in the back row
instead: a drum to beat in the band; the pleasure of humming
fails: croaked like a hinge; forgot the second verse; sang so loudly that the choir went home

deed: dance|danced at the midsummer ball
uses: waltz|waltzed until the candles burned down; wear|wore a flower behind one ear
ways: the steps of the polka; the side door to the ballroom; how to count to three
instead: a barn dance with a wheezy accordion; a slow turn under the stars
fails: stepped on every toe; fell into the punch; arrived when the music was over

deed: win|won the great race
uses: wear|wore the blue ribbon; run|ran a lap of honour
ways: a short cut that the rules allowed; how to start slowly; what to eat for breakfast
instead: third place and a handshake; the joy of running for nothing
fails: ran the wrong way; tripped at the starting line; stopped to boast and lost

deed: bake|baked the perfect loaf
uses: smell|smelled it through the whole house; give|gave away the first slice
ways: how long the dough must rest; what makes an oven hot enough; an old recipe in curly writing
instead: a flat loaf with a fine crust; a pot of good soup
fails: burned it to a cinder; forgot the salt; made a brick instead

deed: find|found a true friend
uses: share|shared a bench in the evening; tell|told every secret twice
ways: how to listen; the way to a lonely neighbour's door; how to say sorry and hello
instead: a pen friend who wrote each month; good company in a good book
fails: talked so much that nobody came back; quarrelled with the first to come; stood alone at the party

deed: read|read the old signs
uses: find|found the library; decipher|deciphered the gravestones
ways: the letters one by one; the twenty-six letters on a slate; a riddle with its answer
instead: a friend who read aloud; the pictures beside the words
fails: held the book upside down; mixed up all the letters; read poison as porridge

deed: climb|climbed the highest tower
uses: wave|waved to everyone below; see|saw where the rivers go
ways: the hidden stairs behind a curtain; how to look up and never down; a rope with knots in it
instead: a seat on the garden wall; the view from the second floor
fails: turned back at the tenth step; stuck fast in a window; tumbled into a hedge

deed: whistle|whistled like a blackbird
uses: call|called the dawn; whistle|whistled a round with the thrushes
ways: how to fold the tongue; what to do with two fingers; a blade of grass between the thumbs
instead: a tin flute with six holes; the art of clapping
fails: only blew air; spat on the mayor; frightened the cows

deed: cross|crossed the deep water
uses: taste|tasted the plums on the other side; visit|visited a cousin over there
ways: a row of stones under the surface; a ferry for the price of a song; a bridge behind the mist
instead: a fine picnic on this side; a letter from the other side
fails: turned back when the waves rose; got stuck on a sandbank; lost both oars

deed: sleep|slept without bad dreams
uses: wake|woke up with the larks; remember|remembered only the nice parts
ways: how to laugh at a nightmare; a song to hum in the dark; how to leave the shutters open
instead: good company in the dark; a lamp that burned all night
fails: lay awake counting cracks; dreamed of teeth; woke the whole house with a scream

deed: paint|painted a real picture
uses: hang|hung it over the stove; paint|painted the whole family
ways: how to mix green from blue and yellow; how to look for a long time; a brush of three hairs
instead: a pretty pattern of spots; a frame around the window
fails: painted a cow that looked like a table; spilled the whole of the red; sat down on the wet paint

deed: make|made everyone laugh
uses: tell|told jokes at funerals; bow|bowed to the applause
ways: how to fall over on purpose; the oldest joke in the world; how to wait before the last word
instead: one smile from a stranger; a good laugh alone
fails: forgot the end of the joke; made the baby cry; laughed alone

deed: touch|touched the moon
grand: yes
uses: bring|brought back a slice of it; sit|sat on its lower horn
ways: a ladder made of moonbeams; a hill so high that the moon brushed it; where the moon comes down to drink
instead: the moon in a bucket of water; a round white cheese
fails: fell off the roof; only caught a cold; reached until both arms ached

deed: talk|talked with the wind
grand: yes
uses: ask|asked for news of the south; order|ordered a breeze for washing day
ways: the whispering grammar of leaves; a high place where the wind rests; how to answer with a sail
instead: a shell with the sea in it; a wind chime of old spoons
fails: shouted until no voice was left; lost a good hat; got only sand for an answer

deed: fly|flew like a swallow
grand: yes
uses: loop|looped the loop at sunset; spend|spent the winter in Africa
ways: how to lean on the air; a balloon made of silk; a warm wind that lifts anyone who trusts it
instead: a swing that reached the branches; one long jump from the haystack
fails: landed in the nettles; jumped and only fell; flapped and flapped and stayed on the ground

deed: stop|stopped the winter
grand: yes
uses: keep|kept the roses in bloom; walk|walked barefoot in December
ways: the cave where spring sleeps; a song that the snow obeys; how to keep one warm day in a jar
instead: a good stove and thick socks; a snowdrop in a cup
fails: scolded the snow and sneezed; froze to the doorstep; swept up snow all night for nothing

deed: become|became invisible
grand: yes
uses: listen|listened to what the neighbours said; sneak|sneaked into the circus
ways: a cloak the colour of air; a herb that grows at midnight; how to stand perfectly still
instead: a good place to hide; a mask for the carnival
fails: was seen by everyone; lost both shoes and still cast a shadow; turned green for a week

deed: turn|turned back time
grand: yes
uses: have|had last summer again; unsay|unsaid one silly word
ways: a clock with backward hands; the village where it is always yesterday; a door that opens on last May
instead: an album of old pictures; a good memory and a new day
fails: broke the clock; was only late for lunch; forgot what day it was
"""
